"""The operations of packages, endpoints and jobs."""

from ..policy import Action as A
from . import delivery as d
from . import jobs as j
from .routing import Page, PageQuery, Route

# Who packages and publishes is asked of the Hub anew, too.
DELIVERY = [
    Route(
        "POST",
        "/models/{model_id}/package",
        d.package_model,
        A.MODEL_PACKAGE,
        j.JobView,
        body=d.PackageForm,
        status=202,
        fresh=True,
        tag="Packages",
    ),
    Route(
        "GET",
        "/models/{model_id}/packages",
        d.list_packages,
        A.MODEL_VIEW,
        Page[d.PackageView],
        query=PageQuery,
        tag="Packages",
    ),
    Route("GET", "/packages/{package_id}", d.get_package, A.MODEL_VIEW, d.PackageView, tag="Packages"),
    Route("GET", "/builders", d.list_builders, A.PROJECTS_LIST, Page[d.BackendView], tag="Packages"),
    Route(
        "POST",
        "/models/{model_id}/publish",
        d.publish_model,
        A.MODEL_PUBLISH,
        d.PublishView,
        body=d.PublishForm,
        status=202,
        fresh=True,
        tag="Endpoints",
    ),
    Route(
        "POST",
        "/models/{model_id}/withdraw",
        d.withdraw_model,
        A.MODEL_PUBLISH,
        j.JobView,
        status=202,
        fresh=True,
        tag="Endpoints",
    ),
    Route(
        "GET",
        "/endpoints",
        d.list_endpoints,
        A.PROJECTS_LIST,
        Page[d.EndpointView],
        query=PageQuery,
        tag="Endpoints",
    ),
    Route(
        "GET",
        "/models/{model_id}/endpoint",
        d.get_model_endpoint,
        A.MODEL_VIEW,
        d.EndpointView,
        tag="Endpoints",
    ),
    Route("GET", "/endpoints/{endpoint_id}", d.get_endpoint, A.MODEL_VIEW, d.EndpointView, tag="Endpoints"),
    Route(
        "POST",
        "/endpoints/{endpoint_id}/keys",
        d.add_endpoint_key,
        A.MODEL_PUBLISH,
        d.ApiKeyView,
        body=d.KeyForm,
        status=201,
        fresh=True,
        tag="Endpoints",
    ),
    Route("GET", "/targets", d.list_targets, A.PROJECTS_LIST, Page[d.BackendView], tag="Endpoints"),
]

JOBS = [
    Route(
        "GET",
        "/models/{model_id}/jobs",
        j.list_jobs,
        A.MODEL_VIEW,
        Page[j.JobView],
        query=PageQuery,
        tag="Jobs",
    ),
    Route("GET", "/jobs/{job_id}", j.get_job, A.MODEL_VIEW, j.JobView, tag="Jobs"),
    Route(
        "GET",
        "/jobs/{job_id}/events",
        j.JobEventsHandler,
        A.MODEL_VIEW,
        Page[j.JobEventView],
        query=j.JobEventsQuery,
        stream="text/event-stream",
        tag="Jobs",
    ),
]
