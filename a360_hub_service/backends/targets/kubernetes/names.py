"""How the platform's things are called in a cluster, and by which labels it knows them again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict

from a360_hub_service.backends.targets.types import EndpointSpec

MANAGER = "a360"
"""Who manages the objects: the field manager of server-side apply, and a label."""
MANAGED = "app.kubernetes.io/managed-by"
PLATFORM, SLUG, REVISION = "a360.platform", "a360.slug", "a360.revision"
"""Labels: which installation made an object, for which endpoint, and of which revision a pod is."""
READY, PREVIOUS = "a360.ready-revision", "a360.previous-revision"
"""Annotations of a Deployment: the revision that last was ready, and the one before it."""
EXPOSED = "a360.url"
"""Annotation of a Deployment: where callers find it."""
KEYS_SEEN = "a360.keys"
"""Annotation of pods: which keys they hold. Changing it makes the kubelet bring them at once."""

_LONGEST = 63


def namespace_name(prefix: str, project: str) -> str:
    """Return the name of the namespace of a project: at most 63 characters, the same each time."""
    name = f"{prefix}-{project}" if project else prefix
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 9].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def object_name(slug: str) -> str:
    """Return the name of an endpoint's objects: names of Services begin with a letter."""
    return slug if slug[:1].isalpha() else f"e-{slug}"


def labels(platform: str, slug: str) -> dict[str, str]:
    """Return the labels of all objects of one endpoint."""
    return {"app.kubernetes.io/name": "a360-endpoint", MANAGED: MANAGER, **selector(platform, slug)}


def selector(platform: str, slug: str) -> dict[str, str]:
    """Return what the pods of one endpoint are found by. It never changes: a Deployment would refuse."""
    return {PLATFORM: platform, SLUG: slug}


def selector_text(platform: str, slug: str = "") -> str:
    """Return the query for objects of one endpoint, or of all endpoints of a platform."""
    wanted = {MANAGED: MANAGER, PLATFORM: platform} | ({SLUG: slug} if slug else {})
    return ",".join(f"{name}={value}" for name, value in wanted.items())


def revision_of(spec: EndpointSpec, settings: Mapping[str, object]) -> str:
    """Name what pods of `spec` are made of. How many there are, and labels, change nothing in a pod."""
    seen = asdict(spec) | {"labels": None, "replicas": None, "max_replicas": None, "settings": dict(settings)}
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:12]
