"""GET /a360/status: which project this workspace belongs to, and whether the service answers."""

import json
import os
from http.client import responses
from typing import Any

from jupyter_server.base.handlers import APIHandler
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.web import authenticated

from a360mdk import open_runs

SECONDS = 5.0


class StatusHandler(APIHandler):
    """Answers for the panels of the workspace; asking does not count as activity."""

    _track_activity = False

    @authenticated
    async def get(self) -> None:
        """Write the status as JSON; never an error because the service is away."""
        environment = os.environ
        self.finish(
            json.dumps(
                {
                    "project": {
                        "id": environment.get("A360_PROJECT_ID"),
                        "name": environment.get("A360_PROJECT_NAME"),
                    },
                    "workspace": {
                        "id": environment.get("A360_WORKSPACE_ID"),
                        "image": environment.get("A360_IMAGE"),
                    },
                    "open_runs": open_runs.count(),
                    "service": await ask_service(),
                }
            )
        )


async def ask_service() -> dict[str, Any]:
    """Ask the service who this workspace's token belongs to; say whether it answered and what."""
    url, token = os.environ.get("A360_API_URL"), os.environ.get("JUPYTERHUB_API_TOKEN")
    if not url or not token:
        return {"reachable": False, "url": url, "detail": "This server is not a workspace of a project."}
    try:
        await AsyncHTTPClient().fetch(
            url.rstrip("/") + "/me",
            headers={"Authorization": f"token {token}", "Accept": "application/json"},
            connect_timeout=SECONDS,
            request_timeout=SECONDS,
            follow_redirects=False,
        )
    except HTTPClientError as error:
        # 599 is tornado's own: no answer at all.
        reachable = error.code != 599
        detail = f"It refuses the workspace's token: {error.code} {responses.get(error.code, '')}".strip()
        return {"reachable": reachable, "url": url, "detail": detail if reachable else "No answer."}
    except OSError:
        return {"reachable": False, "url": url, "detail": "No connection."}
    return {"reachable": True, "url": url, "detail": "Connected."}
