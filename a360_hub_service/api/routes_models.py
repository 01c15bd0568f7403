"""The operations on models, experiments and runs, and of the review."""

from ..policy import Action as A
from . import experiments as x
from . import models as m
from . import reviews as v
from . import runs as r
from .routing import Page, PageQuery, Route

MODELS = [
    Route("GET", "/models", m.list_models, A.PROJECTS_LIST, Page[m.ModelView], query=PageQuery, tag="Models"),
    Route(
        "GET",
        "/projects/{project_id}/models",
        m.list_project_models,
        A.MODEL_VIEW,
        Page[m.ModelView],
        query=PageQuery,
        tag="Models",
    ),
    Route(
        "POST",
        "/projects/{project_id}/models",
        m.get_or_create_model,
        A.MODEL_EDIT,
        m.ModelView,
        body=m.ModelForm,
        status=201,
        also=(200,),
        tag="Models",
    ),
    Route("GET", "/models/{model_id}", m.get_model, A.MODEL_VIEW, m.ModelView, tag="Models"),
    Route(
        "PATCH",
        "/models/{model_id}",
        m.edit_model,
        A.MODEL_EDIT,
        m.ModelView,
        body=m.ModelEdit,
        tag="Models",
    ),
    Route(
        "PUT",
        "/models/{model_id}/final-run",
        m.set_final_run,
        A.MODEL_EDIT,
        m.ModelView,
        body=m.FinalRunForm,
        tag="Models",
    ),
    Route(
        "GET",
        "/models/{model_id}/history",
        m.get_model_history,
        A.MODEL_VIEW,
        Page[m.ModelEventView],
        query=PageQuery,
        tag="Models",
    ),
]

EXPERIMENTS = [
    Route(
        "GET",
        "/models/{model_id}/experiments",
        x.list_experiments,
        A.MODEL_VIEW,
        Page[x.ExperimentView],
        query=PageQuery,
        tag="Experiments",
    ),
    Route(
        "POST",
        "/models/{model_id}/experiments",
        x.get_or_create_experiment,
        A.MODEL_EDIT,
        x.ExperimentView,
        body=x.ExperimentForm,
        status=201,
        also=(200,),
        tag="Experiments",
    ),
    Route(
        "GET",
        "/experiments/{experiment_id}",
        x.get_experiment,
        A.MODEL_VIEW,
        x.ExperimentView,
        tag="Experiments",
    ),
    Route(
        "PATCH",
        "/experiments/{experiment_id}",
        x.edit_experiment,
        A.MODEL_EDIT,
        x.ExperimentView,
        body=x.ExperimentEdit,
        tag="Experiments",
    ),
]

RUNS = [
    Route(
        "GET",
        "/experiments/{experiment_id}/runs",
        r.list_runs,
        A.MODEL_VIEW,
        Page[r.RunView],
        query=PageQuery,
        tag="Runs",
    ),
    Route(
        "POST",
        "/experiments/{experiment_id}/runs",
        r.start_run,
        A.MODEL_EDIT,
        r.RunView,
        body=r.RunForm,
        status=201,
        tag="Runs",
    ),
    Route("GET", "/runs/{run_id}", r.get_run, A.MODEL_VIEW, r.RunView, tag="Runs"),
    Route("PATCH", "/runs/{run_id}", r.update_run, A.MODEL_EDIT, r.RunView, body=r.RunForm, tag="Runs"),
    Route(
        "POST", "/runs/{run_id}/finish", r.finish_run, A.MODEL_EDIT, r.RunView, body=r.FinishForm, tag="Runs"
    ),
    Route(
        "GET",
        "/artifacts/{artifact_id}/content",
        r.ArtifactContent,
        A.MODEL_VIEW,
        stream="application/octet-stream",
        also=(206,),
        tag="Runs",
    ),
]

# Who decides about a model is asked of the Hub anew: somebody removed a minute ago decides nothing.
REVIEWS = [
    Route(
        "POST",
        "/models/{model_id}/submit",
        v.submit_model,
        A.MODEL_SUBMIT,
        m.ModelView,
        body=v.SubmitForm,
        fresh=True,
        tag="Review",
    ),
    Route(
        "POST",
        "/models/{model_id}/approve",
        v.approve_model,
        A.MODEL_REVIEW,
        m.ModelView,
        body=v.CommentForm,
        fresh=True,
        tag="Review",
    ),
    Route(
        "POST",
        "/models/{model_id}/deny",
        v.deny_model,
        A.MODEL_REVIEW,
        m.ModelView,
        body=v.DenyForm,
        fresh=True,
        tag="Review",
    ),
    Route(
        "POST",
        "/models/{model_id}/revise",
        v.revise_model,
        A.MODEL_SUBMIT,
        m.ModelView,
        body=v.CommentForm,
        fresh=True,
        tag="Review",
    ),
    Route(
        "POST",
        "/models/{model_id}/terminate",
        v.terminate_model,
        A.MODEL_EDIT,
        m.ModelView,
        body=v.CommentForm,
        fresh=True,
        tag="Review",
    ),
]
