"""What users log, as values that JSON can hold."""

import math
import warnings
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Return a value JSON can hold: numpy numbers as numbers, arrays as lists, other objects as their text.

    NaN and infinities become None: JSON has no word for them.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if hasattr(value, "detach"):  # a torch tensor
        value = value.detach().cpu().numpy()
    if hasattr(value, "tolist"):  # numpy scalars and arrays, pandas Series
        return plain(value.tolist())
    return str(value)


def logged(kind: str, given: Any, error: type[Exception]) -> dict[str, Any]:
    """Check and convert what one of the log methods was given.

    Args:
        kind: "metrics", "hyperparameters" or "metadata".
        given: the user's dict.
        error: raised when it is not a dict.
    """
    if not isinstance(given, Mapping):
        raise error(
            f"The {kind} were not logged.",
            f"They come as a dict, not as {type(given).__name__}.",
            f'Call run.log_{kind}({{"name": value}}).',
        )
    result = {str(key): plain(value) for key, value in given.items()}
    lost = [key for key, value in result.items() if value is None and given.get(key, 0) is not None]
    if lost:
        warnings.warn(
            f"{kind} {', '.join(lost)}: not a finite number, stored as no value.", UserWarning, stacklevel=4
        )
    return result
