"""The operations of the gate between packages that were built and those that are ready."""

from functools import partial

from ..policy import Action as A
from . import gates as g
from .routing import Page, PageQuery, Route

_packages = partial(Route, tag="Packages")
_waivers = partial(Route, tag="Waivers")
GATES = [
    _packages("GET", "/packages/{package_id}/scan", g.get_package_scan, A.MODEL_VIEW, g.ScanView),
    _packages(
        "GET",
        "/packages/{package_id}/findings",
        g.list_package_findings,
        A.MODEL_VIEW,
        Page[g.FindingView],
        query=PageQuery,
    ),
    _packages(
        "GET",
        "/packages/{package_id}/sbom",
        g.PackageBomHandler,
        A.MODEL_VIEW,
        stream="application/vnd.cyclonedx+json",
    ),
    _waivers("GET", "/waivers", g.list_waivers, A.WAIVERS_LIST, Page[g.WaiverView], query=g.WaiversQuery),
    _waivers(
        "POST",
        "/waivers",
        g.add_waiver,
        A.WAIVERS_MANAGE,
        g.WaiverView,
        body=g.WaiverForm,
        status=201,
        fresh=True,
    ),
    _waivers("DELETE", "/waivers/{waiver_id}", g.remove_waiver, A.WAIVERS_MANAGE, status=204, fresh=True),
]
