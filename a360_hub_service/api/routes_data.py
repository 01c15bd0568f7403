"""The part of the table of routes that is about data repos, data sources and credentials."""

from functools import partial

from ..policy import Action as A
from . import commits as k
from . import credentials as c
from . import data as d
from . import data_sources as s
from . import files as f
from . import projects as p
from . import versions as v
from .routing import Page, PageQuery, Route

FILE = "/data-repos/{data_repo_id}/files/{key:path}"
CREDENTIAL = "/credentials/{credential_id}"

_data = partial(Route, tag="Data")
DATA = [
    _data(
        "GET",
        "/volume-accounts",
        d.list_volume_accounts,
        A.VOLUME_ACCOUNTS_LIST,
        Page[d.VolumeAccountView],
        query=PageQuery,
    ),
    _data(
        "GET",
        "/projects/{project_id}/data-repos",
        d.list_data_repos,
        A.DATA_VIEW,
        Page[d.DataRepoView],
        query=PageQuery,
    ),
    _data(
        "POST",
        "/projects/{project_id}/data-repos",
        d.create_data_repo,
        A.DATA_EDIT,
        d.DataRepoView,
        body=p.DataRepoForm,
        status=201,
    ),
    _data("GET", "/data-repos/{data_repo_id}", d.get_data_repo, A.DATA_VIEW, d.DataRepoView),
    _data(
        "PATCH",
        "/data-repos/{data_repo_id}",
        d.edit_data_repo,
        A.DATA_EDIT,
        d.DataRepoView,
        body=d.DataRepoEdit,
    ),
    _data("DELETE", "/data-repos/{data_repo_id}", d.delete_data_repo, A.DATA_EDIT, status=204),
    _data(
        "POST", "/data-repos/{data_repo_id}/default", d.make_data_repo_default, A.PROJECT_EDIT, d.DataRepoView
    ),
    _data(
        "GET",
        "/data-repos/{data_repo_id}/access",
        d.get_data_repo_access,
        A.DATA_EDIT,
        d.AccessView,
        fresh=True,
    ),
    _data(
        "GET",
        "/data-repos/{data_repo_id}/files",
        d.list_files,
        A.DATA_VIEW,
        Page[f.FileView],
        query=d.FilesQuery,
    ),
    _data(
        "GET",
        FILE,
        f.FileHandler,
        A.DATA_VIEW,
        query=f.DownloadQuery,
        stream="application/octet-stream",
        also=(206,),
    ),
    _data("HEAD", FILE, f.FileHandler, A.DATA_VIEW, query=f.DownloadQuery),
    _data(
        "PUT",
        FILE,
        f.FileHandler,
        A.DATA_EDIT,
        f.FileView,
        query=f.UploadQuery,
        status=201,
        also=(200,),
        upload=True,
    ),
    _data("DELETE", FILE, f.FileHandler, A.DATA_EDIT, query=f.DeleteQuery, status=204),
]

REPO = "/data-repos/{data_repo_id}"
_versions = partial(Route, tag="Versions of data")
VERSIONS = [
    _versions(
        "GET", f"{REPO}/commits", v.list_commits, A.DATA_VIEW, Page[v.CommitView], query=v.HistoryQuery
    ),
    _versions(
        "POST", f"{REPO}/commits", k.create_commit, A.DATA_EDIT, v.CommitView, body=k.CommitForm, status=201
    ),
    _versions("GET", f"{REPO}/commits/{{commit_id}}", v.get_commit, A.DATA_VIEW, v.CommitView),
    _versions("GET", f"{REPO}/tree", v.list_tree, A.DATA_VIEW, Page[v.EntryView], query=v.TreeQuery),
    _versions("GET", f"{REPO}/version", v.get_version, A.DATA_VIEW, v.VersionView, query=v.VersionQuery),
    _versions(
        "GET",
        f"{REPO}/compare",
        v.compare_commits,
        A.DATA_VIEW,
        Page[v.DifferenceView],
        query=v.CompareQuery,
    ),
    _versions(
        "GET", f"{REPO}/changes", v.list_changes, A.DATA_VIEW, Page[v.ForeignView], query=v.ForeignQuery
    ),
    _versions("POST", f"{REPO}/contents", k.keep_contents, A.DATA_EDIT, k.KeptList, body=k.KeepForm),
    _versions(
        "POST", f"{REPO}/restore", k.restore, A.DATA_EDIT, v.CommitView, body=k.RestoreForm, status=201
    ),
    _versions("GET", f"{REPO}/branches", v.list_branches, A.DATA_VIEW, Page[v.BranchView], query=PageQuery),
    _versions(
        "POST", f"{REPO}/branches", v.create_branch, A.DATA_EDIT, v.BranchView, body=v.NameForm, status=201
    ),
    _versions("DELETE", f"{REPO}/branches/{{name}}", v.delete_branch, A.DATA_EDIT, status=204),
    _versions("GET", f"{REPO}/tags", v.list_tags, A.DATA_VIEW, Page[v.TagView], query=PageQuery),
    _versions("POST", f"{REPO}/tags", v.create_tag, A.DATA_EDIT, v.TagView, body=v.NameForm, status=201),
    _versions("DELETE", f"{REPO}/tags/{{name}}", v.delete_tag, A.DATA_EDIT, status=204),
]

_sources = partial(Route, tag="Data sources")
DATA_SOURCES = [
    _sources(
        "GET",
        "/data-sources",
        s.list_data_sources,
        A.DATA_SOURCES_LIST,
        Page[s.DataSourceView],
        query=s.DataSourcesQuery,
    ),
    _sources(
        "POST",
        "/data-sources/{data_source_id}/connect",
        s.connect_to_data_source,
        A.DATA_SOURCE_CONNECT,
        s.DataSourceAccessView,
        fresh=True,
    ),
]

_credentials = partial(Route, fresh=True, tag="Credentials")
CREDENTIALS = [
    _credentials(
        "GET",
        "/credentials",
        c.list_credentials,
        A.CREDENTIALS_MANAGE,
        Page[c.CredentialView],
        query=c.CredentialsQuery,
    ),
    _credentials(
        "POST",
        "/credentials",
        c.create_credential,
        A.CREDENTIALS_MANAGE,
        c.CredentialView,
        body=c.CredentialForm,
        status=201,
    ),
    _credentials("GET", CREDENTIAL, c.get_credential, A.CREDENTIALS_MANAGE, c.CredentialView),
    _credentials(
        "PATCH", CREDENTIAL, c.edit_credential, A.CREDENTIALS_MANAGE, c.CredentialView, body=c.CredentialEdit
    ),
    _credentials("DELETE", CREDENTIAL, c.delete_credential, A.CREDENTIALS_MANAGE, status=204),
    _credentials("POST", f"{CREDENTIAL}/test", c.test_credential, A.CREDENTIALS_MANAGE, c.ConnectionView),
]
