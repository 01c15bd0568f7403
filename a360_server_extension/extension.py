"""Wiring of the extension into a Jupyter server."""

import os
from typing import Any

from a360_server_extension import activity
from a360_server_extension.status import StatusHandler


def load(server: Any) -> None:
    """Add the route ``/a360/status`` and the rule of what counts as activity.

    Kernels need nothing from here: they inherit the workspace's environment, Jupyter gives them
    ``JPY_SESSION_NAME``, and the kit comes in by the environment's IPython configuration.

    Args:
        server: the running ``jupyter_server.serverapp.ServerApp``.
    """
    base = server.web_app.settings["base_url"].rstrip("/")
    server.web_app.add_handlers(".*$", [(f"{base}/a360/status", StatusHandler)])
    activity.install(server)
    server.log.info("A360: project %s", os.environ.get("A360_PROJECT_NAME") or "none")
