"""The health file: what the wrapper does, kept fresh while it listens and works."""

import json
import os
import time
from pathlib import Path
from typing import Any

FILE = "health.json"
FORGET = "forget-session"
"""File in the state folder that asks for the end of the session at the broker, when the wrapper stops."""
FRESH_SECONDS = 60.0
"""How old the file may be: as long as one prediction may take."""


def write_health(folder: Path, document: dict[str, Any]) -> None:
    """Replace the health file of a state folder at once."""
    temporary = folder / f".{FILE}.new"
    temporary.write_text(json.dumps(document | {"at": time.time()}), "utf-8")
    os.replace(temporary, folder / FILE)


def read_health(folder: Path, seconds: float = FRESH_SECONDS) -> tuple[bool, dict[str, Any]]:
    """Return whether the wrapper listens and works, and what it says of itself (``message`` says why not)."""
    try:
        document: dict[str, Any] = json.loads((folder / FILE).read_text("utf-8"))
        age = time.time() - float(document["at"])
    except FileNotFoundError:
        return False, {"message": "The wrapper has not started yet."}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return False, {"message": f"The health file cannot be read: {type(error).__name__}."}
    if age > seconds:
        document["message"] = f"The wrapper has not been heard of for {age:.0f} seconds."
        return False, document
    return document.get("state") == "listening", document
