"""What the OpenAPI document says of values whose rules are checked elsewhere, in words for people.

A pattern that pydantic checks ends in a message that quotes it. Where a use case has a better one, only the
document holds the pattern. Patterns take no less than the service does, blanks around a text included.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_CONTROL = r"\u0000-\u001f\u007f-\u009f"
_AROUND = r"[\t-\r ]*"

ANY_TEXT = r"^[^\u0000]*$"
"""What PostgreSQL can store."""
SOME_TEXT = r"^[^\u0000]*[^\s\u0000][^\u0000]*$"
"""The same, not only blanks."""

DISPLAY_NAME: dict[str, Any] = {"pattern": rf"^{_AROUND}[^\s{_CONTROL}][^{_CONTROL}]*{_AROUND}$"}
"""Of :func:`a360_hub_service.services.naming.check_name`."""
VOLUME_NAME: dict[str, Any] = {"pattern": rf"^{_AROUND}[a-z0-9][a-z0-9-]{{1,61}}[a-z0-9]{_AROUND}$"}
"""Of :func:`a360_hub_service.services.naming.check_volume_name`."""
REPOSITORY: dict[str, Any] = {"pattern": rf"^{_AROUND}[A-Za-z]+://[^\s?#]+\.git([?#]\S*)?{_AROUND}$"}
"""Of git sources, which refuse more: the operator says which addresses may be used."""
NOTHING: dict[str, Any] = {"anyOf": [{"type": "string", "pattern": rf"^{_AROUND}$"}, {"type": "null"}]}
"""A text that has no meaning yet, and may only be empty."""
_FRACTION = r"(\.[0-9]+)?"
_GIB = (
    r"0+\.(2[5-9]|[3-9])[0-9]*",
    rf"0*[1-9][0-9]{{0,2}}{_FRACTION}",
    rf"0*([1-3][0-9]{{3}}|40[0-8][0-9]|409[0-5]){_FRACTION}",
    r"0*4096(\.0+)?",
)
MEMORY: dict[str, Any] = {"pattern": rf"^({'|'.join(_GIB)})Gi$"}
"""Of :func:`spawner_profiles.sizes.memory_bytes`: 0.25Gi to 4096Gi."""


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
"""An integer as JSON Schema has it: 5.0 is one, too."""
Port = Annotated[
    int, Field(ge=1, le=65535, description="The usual one when left out."), BeforeValidator(_whole)
]
"""A TCP port."""
Lifetime = Annotated[int, Field(ge=60, le=3650 * 86400), BeforeValidator(_whole)]
"""Seconds, from a minute to ten years."""
Dimension = Annotated[int, Field(ge=0, lt=2**53), BeforeValidator(_whole)]
"""A size along one axis."""
Opset = Annotated[int, Field(ge=1, lt=2**31), BeforeValidator(_whole)]
"""A version of ONNX' operators."""
