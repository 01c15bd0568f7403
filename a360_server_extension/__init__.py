"""The server side of A360 in a workspace: its connection to the service, and knowing when it is idle."""

from typing import Any

from a360_server_extension.extension import load

_load_jupyter_server_extension = load


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": "a360_server_extension"}]
