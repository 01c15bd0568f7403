"""Every operation of the API, one row each: where, who may, what goes in and what comes out."""

from ..policy import Action as A
from . import experiments as x
from . import models as m
from . import projects as p
from . import reviews as v
from . import runs as r
from . import workspaces as w
from .routes_data import CREDENTIALS, DATA
from .routes_delivery import DELIVERY, JOBS
from .routing import Page, PageQuery, Route

PREFIX = "api/v1"

PROJECTS = [
    Route("GET", "/me", p.get_me, A.SELF_VIEW, p.MeView, tag="People"),
    Route("GET", "/users", p.list_users, A.USERS_LIST, Page[p.UserView], query=p.UsersQuery, tag="People"),
    Route(
        "GET",
        "/projects",
        p.list_projects,
        A.PROJECTS_LIST,
        Page[p.ProjectView],
        query=PageQuery,
        tag="Projects",
    ),
    Route(
        "POST",
        "/projects",
        p.create_project,
        A.PROJECT_CREATE,
        p.ProjectView,
        body=p.ProjectForm,
        status=201,
        tag="Projects",
    ),
    Route("GET", "/projects/{project_id}", p.get_project, A.PROJECT_VIEW, p.ProjectView, tag="Projects"),
    Route(
        "PATCH",
        "/projects/{project_id}",
        p.edit_project,
        A.PROJECT_EDIT,
        p.ProjectView,
        body=p.ProjectEdit,
        tag="Projects",
    ),
    Route("DELETE", "/projects/{project_id}", p.delete_project, A.PROJECT_DELETE, status=204, tag="Projects"),
    Route(
        "GET",
        "/projects/{project_id}/collaborators",
        p.list_collaborators,
        A.PROJECT_VIEW,
        Page[p.CollaboratorView],
        query=PageQuery,
        tag="Projects",
    ),
    Route(
        "PUT",
        "/projects/{project_id}/collaborators/{user_name}",
        p.add_collaborator,
        A.PROJECT_EDIT,
        p.CollaboratorView,
        tag="Projects",
    ),
    Route(
        "DELETE",
        "/projects/{project_id}/collaborators/{user_name}",
        p.remove_collaborator,
        A.PROJECT_EDIT,
        status=204,
        tag="Projects",
    ),
]

WORKSPACES = [
    Route(
        "GET",
        "/workspaces",
        w.list_my_workspaces,
        A.PROJECTS_LIST,
        Page[w.WorkspaceView],
        query=PageQuery,
        tag="Workspaces",
    ),
    Route(
        "GET",
        "/projects/{project_id}/workspaces",
        w.list_workspaces,
        A.WORKSPACE_VIEW,
        Page[w.WorkspaceView],
        query=PageQuery,
        tag="Workspaces",
    ),
    Route(
        "POST",
        "/projects/{project_id}/workspaces",
        w.create_workspace,
        A.WORKSPACE_EDIT,
        w.WorkspaceView,
        body=w.WorkspaceForm,
        status=201,
        tag="Workspaces",
    ),
    Route(
        "GET",
        "/workspaces/{workspace_id}",
        w.get_workspace,
        A.WORKSPACE_VIEW,
        w.WorkspaceView,
        tag="Workspaces",
    ),
    Route(
        "PATCH",
        "/workspaces/{workspace_id}",
        w.edit_workspace,
        A.WORKSPACE_EDIT,
        w.WorkspaceView,
        body=w.WorkspaceEdit,
        tag="Workspaces",
    ),
    Route(
        "DELETE",
        "/workspaces/{workspace_id}",
        w.delete_workspace,
        A.WORKSPACE_EDIT,
        status=204,
        tag="Workspaces",
    ),
    Route(
        "POST",
        "/workspaces/{workspace_id}/start",
        w.start_workspace,
        A.WORKSPACE_EDIT,
        w.WorkspaceView,
        status=202,
        tag="Workspaces",
    ),
    Route(
        "POST",
        "/workspaces/{workspace_id}/stop",
        w.stop_workspace,
        A.WORKSPACE_EDIT,
        w.WorkspaceView,
        status=202,
        tag="Workspaces",
    ),
    Route("GET", "/images", w.list_images, A.PROJECTS_LIST, Page[w.ImageView], tag="Workspaces"),
    Route("GET", "/profiles", w.list_profiles, A.PROJECTS_LIST, Page[w.ProfileView], tag="Workspaces"),
]

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

ROUTES: list[Route] = [
    *PROJECTS,
    *DATA,
    *CREDENTIALS,
    *MODELS,
    *EXPERIMENTS,
    *RUNS,
    *REVIEWS,
    *WORKSPACES,
    *DELIVERY,
    *JOBS,
]
