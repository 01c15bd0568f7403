"""Loaded by schemathesis (``SCHEMATHESIS_HOOKS``): has its requests name things that exist."""

import atexit
import json
import os
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis

IDS: dict[str, str] = json.loads(os.environ["A360_TEST_IDS"])
INSTEAD: dict[str, dict[str, str]] = json.loads(os.environ["A360_TEST_INSTEAD"])
NAMES: dict[str, list[str | int]] = json.loads(os.environ["A360_TEST_NAMES"])
"""Fields of bodies that name something, and what there is to name."""
NAMES_OF: dict[str, dict[str, list[str | int]]] = json.loads(os.environ["A360_TEST_NAMES_OF"])
"""The same for single operations."""
BEYOND: dict[str, list[str]] = json.loads(os.environ["A360_TEST_BEYOND_SCHEMA"])
"""Operation (or ``*``) -> the fields whose rules no schema can hold."""
PLAIN = ("key", "name", "user_name")
"""Parameters of paths that are no identifiers."""
OFTEN = 0.75
ID = re.compile(r"[0-9a-f]{32}")
_made: set[str] = set()
_answers: Counter[str] = Counter()
_choice = random.Random(360)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Replace identifiers that are well formed: unknown ones all get the same 404, proven elsewhere."""
    known = IDS | INSTEAD.get(case.operation.label, {})
    linked = _made if case.meta and case.meta.phase.name.value == "stateful" else ()
    for name, value in (case.path_parameters or {}).items():
        unknown = isinstance(value, str) and ID.fullmatch(value) and value not in linked
        if (name in known and unknown) or (name in PLAIN and _choice.random() < OFTEN):
            case.path_parameters[name] = known[name]
    if case.meta and case.meta.generation.mode.is_positive:
        _name_what_exists(case.body, NAMES | NAMES_OF.get(case.operation.label, {}))
        _name_what_exists(case.query, NAMES)


def _name_what_exists(body: Any, names: dict[str, list[str | int]]) -> None:
    """In a valid body or query, also in nested forms, put references in place of random values."""
    if isinstance(body, list):
        for one in body:
            _name_what_exists(one, names)
    if not isinstance(body, dict):
        return
    for name in ("name", "volume_name"):
        if isinstance(body.get(name), str) and _choice.random() < OFTEN:  # each can be taken once
            body[name] = f"new-{_choice.getrandbits(64):x}"
    for name, value in body.items():
        if name in names and _choice.random() < OFTEN:
            found = _choice.choice(names[name])
            body[name] = [found] if isinstance(value, list) else found
        else:
            _name_what_exists(value, names)


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Keep what the calls made, for those that follow; and count."""
    mode = case.meta.generation.mode.value if case.meta else "?"
    _answers[f"{case.operation.label} {mode} {response.status_code}"] += 1
    if response.status_code == 201 and case.operation.method == "post":
        _made.add(str(response.json().get("id")))


@atexit.register
def _tell() -> None:
    Path(os.environ["A360_TEST_ANSWERS"]).write_text(json.dumps(_answers, indent=1, sort_keys=True))


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Whether a failure counts: a valid request may be refused for a rule that no schema can hold."""
    if type(failure).__name__ != "RejectedPositiveData" or response.status_code != 422:
        return True
    own = BEYOND.get(case.operation.label, [])
    if not response.content:  # HEAD
        return not own
    wrong = response.json().get("errors") or []
    fields = {re.sub(r"\.\d+(?=\.|$)", ".*", error["field"]) for error in wrong}
    return not wrong or not fields <= {*BEYOND["*"], *own}
