"""The tornado application: routes become handlers, beside pages, health check and the Hub's callback."""

import functools
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jupyterhub.services.auth import HubOAuthCallbackHandler
from tornado.web import Application, RequestHandler, StaticFileHandler

from .handlers import BaseHandler, HealthHandler, JSONHandler, MissingHandler, Web
from .notebooks import NotebookPage
from .openapi import document
from .pages import ModelPage, StartPage
from .routes import PREFIX, ROUTES
from .routing import ID, Route, pattern

STATIC = Path(__file__).parent / "static"
TEMPLATES = Path(__file__).parent / "templates"


class OpenAPIHandler(RequestHandler):
    """The OpenAPI document; it tells nothing that the source does not."""

    def initialize(self, web: Web, prefix: str) -> None:
        """Take the parts."""
        self.web, self.prefix = web, prefix

    async def get(self) -> None:
        """Answer with the document."""
        self.set_header("Content-Type", "application/json")
        self.finish(await self.web.run(openapi_text, self.prefix))


@functools.cache
def openapi_text(prefix: str) -> str:
    """The document as JSON: a second's work, so done when it is first asked for, in a thread, and kept."""
    return json.dumps(document(ROUTES, prefix=prefix, version=version("a360")))


def make_application(web: Web, prefix: str, *, cookie_secret: bytes) -> Application:
    """The application under ``prefix`` (with slashes on both ends).

    ``cookie_secret`` signs browsers' sessions: keep it, or a restart signs everybody out.
    """
    api = f"{prefix}{PREFIX}"
    rules: list[Any] = [
        (f"{prefix}health", HealthHandler, {"web": web}),
        (f"{prefix}oauth_callback", HubOAuthCallbackHandler),
        (f"{api}/openapi.json", OpenAPIHandler, {"web": web, "prefix": api}),
        *api_rules(web, api),
        (f"{api}/.*", MissingHandler, {"web": web}),
        (f"{prefix}static/(.*)", StaticFileHandler, {"path": str(STATIC)}),
        (f"{prefix.rstrip('/')}/?", StartPage, {"web": web}),
        (f"{prefix}models/(?P<model_id>{ID})", ModelPage, {"web": web}),
        (f"{prefix}artifacts/(?P<artifact_id>{ID})/notebook", NotebookPage, {"web": web}),
    ]
    return Application(
        rules,
        cookie_secret=cookie_secret,
        xsrf_cookies=True,
        template_path=str(TEMPLATES),
        default_handler_class=MissingHandler,
        default_handler_args={"web": web},
    )


def api_rules(web: Web, api: str) -> list[Any]:
    """One rule a path, with its operations by method."""
    paths: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = route
    rules: list[Any] = []
    for path, routes in paths.items():
        classes = {r.handler for r in routes.values() if isinstance(r.handler, type)}
        handler: type[BaseHandler] = classes.pop() if classes else JSONHandler
        rules.append((f"{api}{pattern(path)}", handler, {"web": web, "routes": routes}))
    return rules
