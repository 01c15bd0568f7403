"""Every kind of job there is."""

from collections.abc import Mapping
from types import MappingProxyType

from ..services import packaging, publishing
from .work import JobKind

KINDS: Mapping[str, JobKind] = MappingProxyType(
    {kind.name: kind for kind in (packaging.PACKAGE, publishing.PUBLISH, publishing.WITHDRAW)}
)
