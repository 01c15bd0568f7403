"""Reading signatures back: what their text says that a model takes. ``a360mdk.signature`` writes them."""

import re
from collections.abc import Sequence

BIG, SMALL, FLOAT, TEXT, TIME = "big_integer", "small_integer", "float", "text", "timestamp"
UNKNOWN = "unknown"
TYPES = (BIG, SMALL, FLOAT, TEXT, TIME)


def column_types(input_signature: str | None, feature_names: Sequence[str]) -> dict[str, str]:
    """Read a table signature back: the type of each feature; empty for the other forms.

    Names may hold spaces and commas, so the text is followed along the known names.
    """
    rest = input_signature or ""
    found: dict[str, str] = {}
    for name in feature_names:
        kind = next((kind for kind in TYPES if rest.startswith(f"{name} {kind}")), None)
        if kind is None:
            return {}
        found[name] = kind
        rest = rest[len(name) + 1 + len(kind) :].removeprefix(", ")
    return found if not rest else {}


def tensors(input_signature: str | None) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Read a signature of arrays back: type and shape of one row by input name; of one array the name is "".

    Empty for the other forms.
    """
    kind, _, rest = (input_signature or "").partition(": ")
    if kind not in ("ndarray", "tensor"):
        return {}
    found = re.findall(r"(?:(\S.*?) )?(\w+) \(([\d, ]*)\)(?:, |$)", rest)
    single = kind == "ndarray" or [name for name, _, _ in found] == ["input"]
    return {
        "" if single else name: (dtype, tuple(int(size) for size in sizes.replace(",", " ").split()))
        for name, dtype, sizes in found
    }
