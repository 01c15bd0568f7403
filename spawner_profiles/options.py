"""What a workspace is started with, signed by the service.

Workspaces are made in A360: only the service knows who belongs to which project. Yet a user may talk to the
Hub directly and post any ``user_options``. So the service signs the options with a key that only it and the
Hub's configuration hold, bound to user and server name and valid for some minutes, and the Hub refuses to
start anything else. A signature was chosen over a call back to the service because the Hub then needs neither
the service's address nor its health to decide, and because on Kubernetes it is one shared Secret.
"""

import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .sizes import Memory

VALID_SECONDS = 600


class OptionsRefused(ValueError):
    """The options did not come from the service, are for another server, or are too old."""


class WorkspaceOptions(BaseModel):
    """The workspace to start: its project, image and size. Ids are 32 lower-case hex characters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workspace_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    project_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    project_name: str
    image: str
    cpu: Annotated[float, Field(gt=0)]
    memory: Memory
    gpus: Annotated[int, Field(ge=0)] = 0
    profile: str
    idle_seconds: Annotated[int, Field(gt=0)] = 3600


def signing_key(path: Path) -> bytes:
    """Read the shared key."""
    return path.read_text().strip().encode()


def _signature(key: bytes, user: str, server: str, options: dict[str, Any], expires: int) -> str:
    message = json.dumps([user, server, options, expires], sort_keys=True, separators=(",", ":"))
    return hmac.new(key, message.encode(), hashlib.sha256).hexdigest()


def sign(key: bytes, user: str, server: str, options: WorkspaceOptions) -> dict[str, Any]:
    """Make the Hub's ``user_options`` for one start of one server of one user."""
    expires = int(time.time()) + VALID_SECONDS
    body = options.model_dump(mode="json")
    return {"a360": body, "expires": expires, "signature": _signature(key, user, server, body, expires)}


def verify(
    key: bytes, user: str, server: str, user_options: dict[str, Any], *, allow_expired: bool = False
) -> WorkspaceOptions:
    """Check what :func:`sign` made and give the options back.

    Parameters
    ----------
    key : bytes
        The key shared by the service and the Hub's configuration.
    user, server : str
        Whose server is about to start, by the Hub's own knowledge.
    user_options : dict
        What the Hub was sent.
    allow_expired : bool
        For looking at a server that was started before, not for starting one.

    Raises
    ------
    OptionsRefused
        With a message for the person who pressed the button.
    """
    body, expires, given = (user_options.get(k) for k in ("a360", "expires", "signature"))
    if not (isinstance(body, dict) and isinstance(expires, int) and isinstance(given, str)):
        raise OptionsRefused(
            "Workspaces are made and started in A360, not here: open A360 and start it there."
        )
    # As bytes: of strings it takes ASCII only, and this one is anybody's.
    expected = _signature(key, user, server, body, expires).encode()
    if not hmac.compare_digest(expected, given.encode(errors="backslashreplace")):
        raise OptionsRefused(
            "These workspace options were not made by A360 for this server; start it in A360."
        )
    if not allow_expired and expires < time.time():
        raise OptionsRefused("This start is too old; start the workspace again in A360.")
    try:
        return WorkspaceOptions.model_validate(body)
    except ValidationError as error:
        raise OptionsRefused(f"A360 sent workspace options this Hub does not understand: {error}") from None
