"""Whether the wrapper is well: ``run.py --healthcheck``, for container health checks and exec probes."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from a360runtime.serving.mqtt.health import read_health
from a360runtime.serving.mqtt.settings import SettingsError, read_settings


def healthcheck(manifest: Mapping[str, object]) -> int:
    """Print the health document; returns 0 when the wrapper listens and works, else 1."""
    try:
        well, document = read_health(Path(read_settings(manifest).state))
    except SettingsError as error:
        well, document = False, {"message": str(error)}
    print(json.dumps(document), file=sys.stdout, flush=True)  # noqa: T201
    return 0 if well else 1
