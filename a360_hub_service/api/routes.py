"""Every operation of the API, one row each: where, who may, what goes in and what comes out."""

from functools import partial

from ..policy import Action as A
from . import projects as p
from . import workspaces as w
from .routes_data import CREDENTIALS, DATA, DATA_SOURCES, VERSIONS
from .routes_delivery import DELIVERY, JOBS
from .routes_gates import GATES
from .routes_models import EXPERIMENTS, MODELS, REVIEWS, RUNS
from .routing import Page, PageQuery, Route

PREFIX = "api/v1"

_people = partial(Route, tag="People")
_projects = partial(Route, tag="Projects")
PROJECTS = [
    _people("GET", "/me", p.get_me, A.SELF_VIEW, p.MeView),
    _people("GET", "/users", p.list_users, A.USERS_LIST, Page[p.UserView], query=p.UsersQuery),
    _projects("GET", "/projects", p.list_projects, A.PROJECTS_LIST, Page[p.ProjectView], query=PageQuery),
    _projects(
        "POST", "/projects", p.create_project, A.PROJECT_CREATE, p.ProjectView, body=p.ProjectForm, status=201
    ),
    _projects("GET", "/projects/{project_id}", p.get_project, A.PROJECT_VIEW, p.ProjectView),
    _projects(
        "PATCH", "/projects/{project_id}", p.edit_project, A.PROJECT_EDIT, p.ProjectView, body=p.ProjectEdit
    ),
    _projects("DELETE", "/projects/{project_id}", p.delete_project, A.PROJECT_DELETE, status=204),
    _projects(
        "GET",
        "/projects/{project_id}/collaborators",
        p.list_collaborators,
        A.PROJECT_VIEW,
        Page[p.CollaboratorView],
        query=PageQuery,
    ),
    _projects(
        "PUT",
        "/projects/{project_id}/collaborators/{user_name}",
        p.add_collaborator,
        A.PROJECT_EDIT,
        p.CollaboratorView,
    ),
    _projects(
        "DELETE",
        "/projects/{project_id}/collaborators/{user_name}",
        p.remove_collaborator,
        A.PROJECT_EDIT,
        status=204,
    ),
]

_workspaces = partial(Route, tag="Workspaces")
WORKSPACES = [
    _workspaces(
        "GET", "/workspaces", w.list_my_workspaces, A.PROJECTS_LIST, Page[w.WorkspaceView], query=PageQuery
    ),
    _workspaces(
        "GET",
        "/projects/{project_id}/workspaces",
        w.list_workspaces,
        A.WORKSPACE_VIEW,
        Page[w.WorkspaceView],
        query=PageQuery,
    ),
    _workspaces(
        "POST",
        "/projects/{project_id}/workspaces",
        w.create_workspace,
        A.WORKSPACE_EDIT,
        w.WorkspaceView,
        body=w.WorkspaceForm,
        status=201,
    ),
    _workspaces("GET", "/workspaces/{workspace_id}", w.get_workspace, A.WORKSPACE_VIEW, w.WorkspaceView),
    _workspaces(
        "PATCH",
        "/workspaces/{workspace_id}",
        w.edit_workspace,
        A.WORKSPACE_EDIT,
        w.WorkspaceView,
        body=w.WorkspaceEdit,
    ),
    _workspaces("DELETE", "/workspaces/{workspace_id}", w.delete_workspace, A.WORKSPACE_EDIT, status=204),
    _workspaces(
        "POST",
        "/workspaces/{workspace_id}/start",
        w.start_workspace,
        A.WORKSPACE_EDIT,
        w.WorkspaceView,
        status=202,
    ),
    _workspaces(
        "POST",
        "/workspaces/{workspace_id}/stop",
        w.stop_workspace,
        A.WORKSPACE_EDIT,
        w.WorkspaceView,
        status=202,
    ),
    _workspaces("GET", "/images", w.list_images, A.PROJECTS_LIST, Page[w.ImageView]),
    _workspaces("GET", "/profiles", w.list_profiles, A.PROJECTS_LIST, Page[w.ProfileView]),
]

ROUTES: list[Route] = [
    *PROJECTS,
    *DATA,
    *VERSIONS,
    *DATA_SOURCES,
    *CREDENTIALS,
    *MODELS,
    *EXPERIMENTS,
    *RUNS,
    *REVIEWS,
    *WORKSPACES,
    *DELIVERY,
    *GATES,
    *JOBS,
]
