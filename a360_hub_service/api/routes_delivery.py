"""The operations of packages, endpoints and jobs."""

from functools import partial

from ..policy import Action as A
from . import accounts as a
from . import jobs as j
from . import offered as o
from . import packages as p
from . import publishing as d
from .routing import Page, PageQuery, Route

_packages = partial(Route, tag="Packages")
_endpoints = partial(Route, tag="Endpoints")
# Who packages and publishes is asked of the Hub anew, too.
DELIVERY = [
    _packages(
        "POST",
        "/models/{model_id}/package",
        p.package_model,
        A.MODEL_PACKAGE,
        j.JobView,
        body=p.PackageForm,
        status=202,
        fresh=True,
    ),
    _packages(
        "GET",
        "/models/{model_id}/packages",
        p.list_packages,
        A.MODEL_VIEW,
        Page[p.PackageView],
        query=PageQuery,
    ),
    _packages("GET", "/packages/{package_id}", p.get_package, A.MODEL_VIEW, p.PackageView),
    _packages("GET", "/registries", a.list_registries, A.PROJECTS_LIST, Page[a.RegistryView]),
    _packages(
        "GET",
        "/repository-accounts",
        a.list_repository_accounts,
        A.PROJECTS_LIST,
        Page[a.RepositoryAccountView],
    ),
    _packages("GET", "/builders", o.list_builders, A.PROJECTS_LIST, Page[o.BackendView]),
    _endpoints(
        "POST",
        "/models/{model_id}/publish",
        d.publish_model,
        A.MODEL_PUBLISH,
        d.PublishView,
        body=d.PublishForm,
        status=202,
        fresh=True,
    ),
    _endpoints(
        "POST",
        "/models/{model_id}/withdraw",
        d.withdraw_model,
        A.MODEL_PUBLISH,
        j.JobView,
        status=202,
        fresh=True,
    ),
    _endpoints("GET", "/endpoints", d.list_endpoints, A.PROJECTS_LIST, Page[d.EndpointView], query=PageQuery),
    _endpoints("GET", "/models/{model_id}/endpoint", d.get_model_endpoint, A.MODEL_VIEW, d.EndpointView),
    _endpoints("GET", "/endpoints/{endpoint_id}", d.get_endpoint, A.MODEL_VIEW, d.EndpointView),
    _endpoints(
        "POST",
        "/endpoints/{endpoint_id}/keys",
        d.add_endpoint_key,
        A.MODEL_PUBLISH,
        d.ApiKeyView,
        body=d.KeyForm,
        status=201,
        fresh=True,
    ),
    _endpoints(
        "DELETE",
        "/endpoints/{endpoint_id}/keys/{key_id}",
        d.revoke_endpoint_key,
        A.MODEL_PUBLISH,
        status=204,
        fresh=True,
    ),
    _endpoints("GET", "/targets", o.list_targets, A.PROJECTS_LIST, Page[o.BackendView]),
    _endpoints("GET", "/brokers", o.list_brokers, A.PROJECTS_LIST, Page[o.BrokerView], query=PageQuery),
]

_jobs = partial(Route, tag="Jobs")
JOBS = [
    _jobs("GET", "/models/{model_id}/jobs", j.list_jobs, A.MODEL_VIEW, Page[j.JobView], query=PageQuery),
    _jobs("GET", "/jobs/{job_id}", j.get_job, A.MODEL_VIEW, j.JobView),
    _jobs("POST", "/jobs/{job_id}/cancel", j.cancel_job, A.JOB_CANCEL, j.JobView),
    _jobs("GET", "/jobs/{job_id}/log", j.JobLogHandler, A.MODEL_VIEW, stream="text/plain"),
    _jobs(
        "GET",
        "/jobs/{job_id}/events",
        j.JobEventsHandler,
        A.MODEL_VIEW,
        Page[j.JobEventView],
        query=j.JobEventsQuery,
        stream="text/event-stream",
    ),
]
