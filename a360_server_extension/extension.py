"""Wiring of the extension into a Jupyter server."""

import os
from typing import Any

from a360_server_extension import activity
from a360_server_extension.captures.handlers import routes
from a360_server_extension.captures.manager import Captures
from a360_server_extension.captures.record import Store
from a360_server_extension.status import StatusHandler

WILDCARDS = ("0.0.0.0", "::", "*")  # noqa: S104 - compared, not bound


def load(server: Any) -> None:
    """Add the routes below ``/a360`` and the rule of what counts as activity.

    Kernels inherit the workspace's environment, to which only the server's own address is added; Jupyter
    gives them ``JPY_SESSION_NAME``, and the kit comes in by the environment's IPython configuration.

    Args:
        server: the running ``jupyter_server.serverapp.ServerApp``.
    """
    base = server.web_app.settings["base_url"].rstrip("/")
    captures = Captures(Store.of_workspace(), server.log)
    server.web_app.add_handlers(".*$", [(f"{base}/a360/status", StatusHandler), *routes(base, captures)])
    server.io_loop.add_callback(_begin, server, captures)
    activity.install(server)
    server.log.info("A360: project %s", os.environ.get("A360_PROJECT_NAME") or "none")


def _begin(server: Any, captures: Captures) -> None:
    """Once the server listens: say where, to kernels, and take up what an earlier server left."""
    if not server.sock:
        scheme = "https" if server.certfile else "http"
        host = server.ip if server.ip and server.ip not in WILDCARDS else "127.0.0.1"
        host = f"[{host}]" if ":" in host else host
        os.environ["A360_SERVER_URL"] = f"{scheme}://{host}:{server.port}{server.base_url}"
        # Workspaces of a Hub take their own JUPYTERHUB_API_TOKEN; a server by itself has one of its own.
        if token := getattr(server.identity_provider, "token", ""):
            os.environ["A360_SERVER_TOKEN"] = token
    captures.resume()
