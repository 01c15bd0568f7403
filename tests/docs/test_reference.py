"""The reference of the notebook kit: everything public is described, and the pages can be written."""

import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.samples import ROOT

SECTION = re.compile(r"^ *(?:Args|Parameters):\n(?P<text>(?:^(?: {4,}.*)?\n?)*)", re.MULTILINE)
SEE = re.compile(r"(?:see|the same as) (?::\w+:)?`+(?P<target>[\w.]+)`+")


def public_classes() -> Iterator[type[Any]]:
    """Classes that people import."""
    for name in ("a360mdk", "a360runtime"):
        package = importlib.import_module(name)
        yield from (getattr(package, public) for public in package.__all__)


def described(kind: type[Any], text: str) -> set[str]:
    """Names of parameters that a docstring describes itself or where it sends its reader."""
    names: set[str] = set()
    for section in SECTION.finditer(inspect.cleandoc(text) + "\n"):
        for line in section["text"].splitlines():
            if found := re.match(r"^ {4}([\w*, ]+):", line):
                names |= {name.strip(" *") for name in found[1].split(",")}
    for found in SEE.finditer(text):
        owner, _, method = found["target"].rpartition(".")
        target = getattr(named(owner) if owner else kind, method)
        names |= described(kind, target.__doc__ or "")
    return names


def named(name: str) -> Any:
    """A class of the kit by its name."""
    return getattr(importlib.import_module("a360mdk"), name)


def members(kind: type[Any]) -> Iterator[tuple[str, Any]]:
    """Public methods and properties of a class and of the kit's classes it derives from."""
    for name, member in inspect.getmembers_static(kind):
        if name.startswith("_") or not getattr(kind, "__module__", "").startswith("a360"):
            continue
        inner = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if inspect.isfunction(inner) and inner.__module__.startswith("a360"):
            yield name, inner


def problems() -> list[str]:
    """What the docstrings leave out."""
    found = []
    for kind in public_classes():
        if not kind.__doc__:
            found.append(f"{kind.__name__}: no docstring")
        for name, function in [*members(kind), ("__init__", vars(kind).get("__init__"))]:
            if function is None or not inspect.isfunction(function):
                continue
            text = kind.__doc__ if name == "__init__" else function.__doc__
            if not text:
                found.append(f"{kind.__name__}.{name}: no docstring")
                continue
            taken = [
                parameter.name
                for parameter in inspect.signature(function).parameters.values()
                if parameter.name not in ("self", "cls") and parameter.kind != parameter.VAR_KEYWORD
            ]
            lacking = [each for each in taken if each not in described(kind, text)]
            if lacking:
                found.append(f"{kind.__name__}.{name}: {', '.join(lacking)}")
            if "return" not in function.__annotations__:
                found.append(f"{kind.__name__}.{name}: no type of what it returns")
    return found


def test_everything_public_is_described() -> None:
    assert problems() == []


def test_the_pages_can_be_written(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "docs" / "reference.py", tmp_path]
    subprocess.run(command, check=True, cwd=ROOT, timeout=240)
    text = (tmp_path / "a360mdk.html").read_text()
    for kind in public_classes():
        if kind.__module__.startswith("a360mdk"):
            assert f'id="{kind.__name__}"' in text
    assert 'id="A360AI.get_or_create_model"' in text
    assert "a360mdk/default_repo.html#DefaultRepo.load_dataset" in text
    for section in ("Args:", "Returns:", "Raises:"):  # they become headings, none stays plain text
        assert f"<p>{section}" not in text
    assert 'id="ONNXModel.predict"' in (tmp_path / "a360runtime.html").read_text()
    assert (tmp_path / "index.html").is_file()
