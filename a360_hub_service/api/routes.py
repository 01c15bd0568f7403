"""Every operation of the API, one row each: where, who may, what goes in and what comes out."""

from ..policy import Action as A
from . import projects as p
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

ROUTES: list[Route] = [*PROJECTS]
