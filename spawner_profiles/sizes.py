"""CPU and memory quantities as people type them."""

import re
from typing import Annotated

from pydantic import AfterValidator

_MEMORY = re.compile(r"^([0-9]+(?:\.[0-9]+)?)Gi$")
_GIB = 1024**3

MIN_MEMORY_GIB = 0.25
MAX_MEMORY_GIB = 4096.0


def memory_bytes(text: str) -> int:
    """Read a memory size.

    Parameters
    ----------
    text : str
        A number directly followed by ``Gi``, for example ``"1Gi"`` or ``"1.5Gi"``.

    Returns
    -------
    int
        The size in bytes.

    Raises
    ------
    ValueError
        When the text is anything else; the message says what to type.
    """
    match = _MEMORY.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a memory size: type a number followed by Gi, for example 1Gi")
    gib = float(match.group(1))
    if not MIN_MEMORY_GIB <= gib <= MAX_MEMORY_GIB:
        raise ValueError(
            f"{text} is out of range: memory lies between {MIN_MEMORY_GIB}Gi and {MAX_MEMORY_GIB:g}Gi"
        )
    return int(gib * _GIB)


def _valid_memory(text: str) -> str:
    memory_bytes(text)
    return text


Memory = Annotated[str, AfterValidator(_valid_memory)]
"""A memory size as text, checked by :func:`memory_bytes`."""
