"""Loaded by schemathesis (``SCHEMATHESIS_HOOKS``): has its requests name things that exist."""

import json
import os
import re
from typing import Any

import schemathesis

IDS: dict[str, str] = json.loads(os.environ["A360_TEST_IDS"])
INSTEAD: dict[str, dict[str, str]] = json.loads(os.environ["A360_TEST_INSTEAD"])
ID = re.compile(r"[0-9a-f]{32}")


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Replace identifiers that are well formed: unknown ones all get the same 404, proven elsewhere."""
    known = IDS | INSTEAD.get(case.operation.label, {})
    for name, value in (case.path_parameters or {}).items():
        if name in known and isinstance(value, str) and ID.fullmatch(value):
            case.path_parameters[name] = known[name]
