"""Configuration of jupyterhub-idle-culler: each workspace has the idle time of its profile."""

from datetime import timedelta
from typing import Any

from traitlets.config import get_config


def idle_for_too_long(inactive: timedelta, inactive_limit: float, server: dict[str, Any], **_: Any) -> bool:
    """Whether a server has idled beyond its own limit, which the service put into its options."""
    options = (server.get("user_options") or {}).get("a360") or {}
    return inactive.total_seconds() >= float(options.get("idle_seconds") or inactive_limit)


c = get_config()
c.IdleCuller.cull_arbiter_hook = idle_for_too_long
