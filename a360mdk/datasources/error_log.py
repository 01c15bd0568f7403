"""What failed in data sources, kept in the workspace."""

import os
import warnings
from datetime import UTC, datetime

from a360runtime.paths import NOTEBOOK_HOME, resolve

FILE = f"{NOTEBOOK_HOME}/datasource_errors.log"


def append(source: str, statement: str, reason: str) -> None:
    """Add a statement and why it failed; both are without secrets already.

    A log that cannot be written is a warning: the error itself matters more.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entry = f"{now} {source}\nstatement: {statement}\nreason: {reason}\n\n"
    path = resolve(FILE)
    try:
        # Statements may hold data: nobody else's business.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as log:
            log.write(entry)
    except OSError as error:
        warnings.warn(f"{path} cannot be written: {error.strerror}", UserWarning, stacklevel=2)
