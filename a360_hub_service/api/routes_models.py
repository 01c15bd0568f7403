"""The operations on models, experiments and runs, and of the review."""

from functools import partial

from ..policy import Action as A
from . import experiments as x
from . import models as m
from . import reviews as v
from . import runs as r
from .routing import Page, PageQuery, Route

_models = partial(Route, tag="Models")
MODELS = [
    _models("GET", "/models", m.list_models, A.PROJECTS_LIST, Page[m.ModelView], query=PageQuery),
    _models(
        "GET",
        "/projects/{project_id}/models",
        m.list_project_models,
        A.MODEL_VIEW,
        Page[m.ModelView],
        query=PageQuery,
    ),
    _models(
        "POST",
        "/projects/{project_id}/models",
        m.get_or_create_model,
        A.MODEL_EDIT,
        m.ModelView,
        body=m.ModelForm,
        status=201,
        also=(200,),
    ),
    _models("GET", "/models/{model_id}", m.get_model, A.MODEL_VIEW, m.ModelView),
    _models("PATCH", "/models/{model_id}", m.edit_model, A.MODEL_EDIT, m.ModelView, body=m.ModelEdit),
    _models(
        "PUT", "/models/{model_id}/final-run", m.set_final_run, A.MODEL_EDIT, m.ModelView, body=m.FinalRunForm
    ),
    _models(
        "GET",
        "/models/{model_id}/history",
        m.get_model_history,
        A.MODEL_VIEW,
        Page[m.ModelEventView],
        query=PageQuery,
    ),
]

_experiments = partial(Route, tag="Experiments")
EXPERIMENTS = [
    _experiments(
        "GET",
        "/models/{model_id}/experiments",
        x.list_experiments,
        A.MODEL_VIEW,
        Page[x.ExperimentView],
        query=PageQuery,
    ),
    _experiments(
        "POST",
        "/models/{model_id}/experiments",
        x.get_or_create_experiment,
        A.MODEL_EDIT,
        x.ExperimentView,
        body=x.ExperimentForm,
        status=201,
        also=(200,),
    ),
    _experiments("GET", "/experiments/{experiment_id}", x.get_experiment, A.MODEL_VIEW, x.ExperimentView),
    _experiments(
        "PATCH",
        "/experiments/{experiment_id}",
        x.edit_experiment,
        A.MODEL_EDIT,
        x.ExperimentView,
        body=x.ExperimentEdit,
    ),
]

_runs = partial(Route, tag="Runs")
RUNS = [
    _runs(
        "GET",
        "/experiments/{experiment_id}/runs",
        r.list_runs,
        A.MODEL_VIEW,
        Page[r.RunView],
        query=PageQuery,
    ),
    _runs(
        "GET",
        "/experiments/{experiment_id}/run-table",
        r.list_run_rows,
        A.MODEL_VIEW,
        Page[r.RunRowView],
        query=PageQuery,
    ),
    _runs(
        "POST",
        "/experiments/{experiment_id}/runs",
        r.start_run,
        A.MODEL_EDIT,
        r.RunView,
        body=r.StartForm,
        status=201,
    ),
    _runs("GET", "/runs/{run_id}", r.get_run, A.MODEL_VIEW, r.RunView),
    _runs("PATCH", "/runs/{run_id}", r.update_run, A.MODEL_EDIT, r.RunView, body=r.RunForm),
    _runs("POST", "/runs/{run_id}/heartbeat", r.send_heartbeat, A.MODEL_EDIT, r.HeartbeatView),
    _runs("POST", "/runs/{run_id}/finish", r.finish_run, A.MODEL_EDIT, r.RunView, body=r.FinishForm),
    _runs(
        "GET",
        "/artifacts/{artifact_id}/content",
        r.ArtifactContent,
        A.MODEL_VIEW,
        stream="application/octet-stream",
        also=(206,),
    ),
]

# Who decides about a model is asked of the Hub anew: somebody removed a minute ago decides nothing.
_review = partial(Route, "POST", returns=m.ModelView, fresh=True, tag="Review")
REVIEWS = [
    _review("/models/{model_id}/submit", v.submit_model, A.MODEL_SUBMIT, body=v.SubmitForm),
    _review("/models/{model_id}/approve", v.approve_model, A.MODEL_REVIEW, body=v.CommentForm),
    _review("/models/{model_id}/deny", v.deny_model, A.MODEL_REVIEW, body=v.DenyForm),
    _review("/models/{model_id}/revise", v.revise_model, A.MODEL_SUBMIT, body=v.CommentForm),
    _review("/models/{model_id}/terminate", v.terminate_model, A.MODEL_EDIT, body=v.CommentForm),
]
