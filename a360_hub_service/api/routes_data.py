"""The part of the table of routes that is about data repos and credentials."""

from ..policy import Action as A
from . import credentials as c
from . import data as d
from . import files as f
from . import projects as p
from .routing import Page, PageQuery, Route

FILE = "/data-repos/{data_repo_id}/files/{key:path}"
CREDENTIAL = "/credentials/{credential_id}"

DATA = [
    Route(
        "GET",
        "/volume-accounts",
        d.list_volume_accounts,
        A.VOLUME_ACCOUNTS_LIST,
        Page[d.VolumeAccountView],
        query=PageQuery,
        tag="Data",
    ),
    Route(
        "GET",
        "/projects/{project_id}/data-repos",
        d.list_data_repos,
        A.DATA_VIEW,
        Page[d.DataRepoView],
        query=PageQuery,
        tag="Data",
    ),
    Route(
        "POST",
        "/projects/{project_id}/data-repos",
        d.create_data_repo,
        A.DATA_EDIT,
        d.DataRepoView,
        body=p.DataRepoForm,
        status=201,
        tag="Data",
    ),
    Route("GET", "/data-repos/{data_repo_id}", d.get_data_repo, A.DATA_VIEW, d.DataRepoView, tag="Data"),
    Route(
        "PATCH",
        "/data-repos/{data_repo_id}",
        d.edit_data_repo,
        A.DATA_EDIT,
        d.DataRepoView,
        body=d.DataRepoEdit,
        tag="Data",
    ),
    Route("DELETE", "/data-repos/{data_repo_id}", d.delete_data_repo, A.DATA_EDIT, status=204, tag="Data"),
    Route(
        "POST",
        "/data-repos/{data_repo_id}/default",
        d.make_data_repo_default,
        A.PROJECT_EDIT,
        d.DataRepoView,
        tag="Data",
    ),
    Route(
        "GET",
        "/data-repos/{data_repo_id}/access",
        d.get_data_repo_access,
        A.DATA_EDIT,
        d.AccessView,
        fresh=True,
        tag="Data",
    ),
    Route(
        "GET",
        "/data-repos/{data_repo_id}/files",
        d.list_files,
        A.DATA_VIEW,
        Page[f.FileView],
        query=d.FilesQuery,
        tag="Data",
    ),
    Route(
        "GET",
        FILE,
        f.FileHandler,
        A.DATA_VIEW,
        stream="application/octet-stream",
        also=(206,),
        tag="Data",
    ),
    Route("HEAD", FILE, f.FileHandler, A.DATA_VIEW, tag="Data"),
    Route(
        "PUT",
        FILE,
        f.FileHandler,
        A.DATA_EDIT,
        f.FileView,
        query=f.UploadQuery,
        status=201,
        also=(200,),
        upload=True,
        tag="Data",
    ),
    Route("DELETE", FILE, f.FileHandler, A.DATA_EDIT, query=f.DeleteQuery, status=204, tag="Data"),
]

CREDENTIALS = [
    Route(
        "GET",
        "/credentials",
        c.list_credentials,
        A.CREDENTIALS_MANAGE,
        Page[c.CredentialView],
        query=c.CredentialsQuery,
        fresh=True,
        tag="Credentials",
    ),
    Route(
        "POST",
        "/credentials",
        c.create_credential,
        A.CREDENTIALS_MANAGE,
        c.CredentialView,
        body=c.CredentialForm,
        status=201,
        fresh=True,
        tag="Credentials",
    ),
    Route(
        "GET",
        CREDENTIAL,
        c.get_credential,
        A.CREDENTIALS_MANAGE,
        c.CredentialView,
        fresh=True,
        tag="Credentials",
    ),
    Route(
        "PATCH",
        CREDENTIAL,
        c.edit_credential,
        A.CREDENTIALS_MANAGE,
        c.CredentialView,
        body=c.CredentialEdit,
        fresh=True,
        tag="Credentials",
    ),
    Route(
        "DELETE",
        CREDENTIAL,
        c.delete_credential,
        A.CREDENTIALS_MANAGE,
        status=204,
        fresh=True,
        tag="Credentials",
    ),
    Route(
        "POST",
        f"{CREDENTIAL}/test",
        c.test_credential,
        A.CREDENTIALS_MANAGE,
        c.ConnectionView,
        fresh=True,
        tag="Credentials",
    ),
]
