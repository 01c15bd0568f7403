"""Tab completion: of the magics' commands and options, and of names on the platform."""

import argparse
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from IPython.core.completer import SimpleCompletion, context_matcher

from a360mdk.exceptions import A360AIError
from a360mdk.experiment import Experiment
from a360mdk.magics import arguments, subjects
from a360mdk.main import A360AI

PATIENCE = 2.0
"""Seconds somebody waits for names when Tab is pressed; what comes later is there the next time."""
FRESH = 10.0
"""Seconds for which names are not asked for again."""
MOST = 500
_REPEATED = ("--env", "--parameter")

_WORD = re.compile(r"'[^']*'?|\"[^\"]*\"?|\S+")
_LINE = re.compile(r"^\s*(?:[\w, ]+=\s*)?%a360\s+(?P<rest>.*)$", re.DOTALL)
_CELL = re.compile(r"^%%a360_run\s+(?P<rest>.*)$", re.DOTALL)
_CALL = re.compile(
    r"\b(?P<method>load_dataset|delete_dataset|get_file|get_object|get_or_create_model|get_or_create_experiment)"
    r"\(\s*(?:(?P<argument>\w+)\s*=\s*)?(?P<quote>[\"'])(?P<typed>[^\"']*)$"
)
_ARGUMENTS = {
    **dict.fromkeys(
        ("load_dataset", "delete_dataset", "get_file", "get_object"), ("keys", ("key", "dataset"))
    ),
    "get_or_create_model": ("models", ("model_name",)),
    "get_or_create_experiment": ("experiments", ("experiment_name",)),
}


class Names:
    """Names on the platform, asked for in the background so that no cell waits for a silent service.

    Args:
        a360ai: returns the interface, None when there is none.
    """

    def __init__(self, a360ai: Callable[[], A360AI | None]) -> None:
        self._a360ai = a360ai
        self._known: dict[str, tuple[float, list[str]]] = {}
        self._asked: dict[str, threading.Thread] = {}

    def get(self, kind: str, folder: str = "") -> list[str]:
        """Return the names of a kind: keys, folders (of a folder), models, versions, experiments, metrics."""
        a360ai = self._a360ai()
        if a360ai is None:
            return []
        about = f"{kind} {folder}"
        when, known = self._known.get(about, (-FRESH, []))
        if time.monotonic() - when < FRESH:
            return known
        asked = self._asked.get(about)
        if asked is None or not asked.is_alive():
            asked = threading.Thread(target=self._ask, args=(a360ai, kind, folder, about), daemon=True)
            self._asked[about] = asked
            asked.start()
        asked.join(PATIENCE)
        return self._known.get(about, (0.0, []))[1]

    def forget(self, *_: object) -> None:
        """Ask anew the next time: a cell has run, and may have made something."""
        self._known.clear()

    def _ask(self, a360ai: A360AI, kind: str, folder: str, about: str) -> None:
        try:
            found = list(islice(dict.fromkeys(_SOURCES[kind](a360ai, folder)), MOST))
        except Exception:  # whatever is wrong, a Tab is no place to say so
            found = []
        self._known[about] = (time.monotonic(), found)


def _keys(a360ai: A360AI, folder: str) -> Iterator[str]:
    filesystem = a360ai.datarepo.filesystem
    for info in filesystem.entries(folder):
        name = info.path.removeprefix(f"{filesystem.bucket}/")
        yield name if info.is_file else f"{name}/"


def _metrics(a360ai: A360AI, _: str) -> Iterator[str]:
    if a360ai.experiment is not None:
        path = f"/experiments/{a360ai.experiment.id}/runs"
        for run in islice(a360ai.client.items(path, A360AIError), MOST):
            yield from (f"metric_{name}" for name in run["metrics"] or {})


_SOURCES: dict[str, Callable[[A360AI, str], Iterable[str]]] = {
    "keys": _keys,
    "folders": lambda a360ai, folder: (key for key in _keys(a360ai, folder) if key.endswith("/")),
    "models": lambda a360ai, _: (found["model_name"] for found in subjects.model_documents(a360ai)),
    "versions": lambda a360ai, _: (found["version"] for found in subjects.model_documents(a360ai)),
    "experiments": lambda a360ai, _: (
        found["experiment_name"] for found in subjects.experiment_documents(a360ai)
    ),
    "metrics": _metrics,
}


class Completer:
    """A matcher of IPython's for what the kit knows.

    Args:
        shell: the IPython shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self.names = Names(self._a360ai)

    def _a360ai(self) -> A360AI | None:
        held = self._shell.user_ns.get("a360ai")
        return held if isinstance(held, A360AI) else None

    @context_matcher(identifier="a360", priority=200)  # type: ignore[untyped-decorator]
    def matcher(self, context: Any) -> Any:
        """What IPython asks: completions for a place in a cell, none where the kit has no say."""
        text = context.text_until_cursor
        typed, candidates = "", list[str]()
        if found := _LINE.match(text):
            typed, candidates = self._of_magic(arguments.a360(), found["rest"])
        elif context.cursor_line == 0 and (found := _CELL.match(text)):
            typed, candidates = self._of_magic(arguments.a360_run(), found["rest"])
        elif found := _CALL.search(text):
            source, allowed = _ARGUMENTS[found["method"]]
            if found["argument"] in (None, *allowed):
                typed = found["typed"]
                candidates = self.names.get(source, _folder(typed) if source == "keys" else "")
        else:
            return {"completions": []}
        # IPython replaces the text it calls matched_fragment, so the whole of what was typed is given.
        fitting = [SimpleCompletion(text=name, type="a360") for name in candidates if name.startswith(typed)]
        return {"completions": fitting, "matched_fragment": typed, "suppress": True, "ordered": True}

    def _of_magic(self, parser: argparse.ArgumentParser, rest: str) -> tuple[str, list[str]]:
        """Return the word being typed, and what could stand there."""
        words = _WORD.findall(rest)
        typed = words.pop() if rest and (not rest[-1].isspace() or _open(words[-1])) else ""
        commands = arguments.commands(parser)
        if commands and not words:
            return typed, [*commands, "--help"]
        if commands:
            if words[0] not in commands:
                return typed, []
            parser = commands[words[0]]
            words = words[1:]
        known = dict(arguments.options(parser))
        before = known.get(words[-1]) if words else None
        if before is not None and before.nargs != 0:
            return typed, self._values(before, typed)
        if typed.startswith("-"):
            return typed, [name for name in known if name not in words or name in _REPEATED]
        if any(not word.startswith("-") for word in words):
            return typed, list(known)
        places = [action for action in parser._actions if not action.option_strings]
        return typed, [*(value for action in places for value in self._values(action, typed)), *known]

    def _values(self, action: argparse.Action, typed: str) -> list[str]:
        if action.choices is not None:
            return list(action.choices)
        if action.dest in ("hyperparameters", "metrics", "fitted", "validation_input", "validation_output"):
            return self._variables(object)
        if action.dest == "experiment":
            names = [f"'{name}'" if " " in name else name for name in self.names.get("experiments")]
            return [*self._variables(Experiment), *names]
        if action.dest == "notebook":
            return [str(path) for path in sorted(Path(_folder(typed)).glob("*.ipynb"))]
        if action.dest == "subpath":
            return self.names.get("folders", _folder(typed))
        kind = {"model": "models", "version": "versions", "sort": "metrics"}.get(action.dest)
        return self.names.get(kind) if kind else []

    def _variables(self, kind: type) -> list[str]:
        hidden = self._shell.user_ns_hidden
        return sorted(
            name
            for name, value in self._shell.user_ns.items()
            if not name.startswith("_") and name not in hidden and isinstance(value, kind)
        )


def _folder(typed: str) -> str:
    return typed.rpartition("/")[0]


def _open(word: str) -> bool:
    """Whether a quote was begun and not ended."""
    return word[0] in "\"'" and (len(word) == 1 or word[-1] != word[0])


def install(shell: Any) -> Completer:
    """Give a shell the completer; return it."""
    made = Completer(shell)
    shell.Completer.custom_matchers.append(made.matcher)
    shell.events.register("post_run_cell", made.names.forget)
    return made


def uninstall(shell: Any, made: Completer) -> None:
    """Take the completer away again."""
    shell.Completer.custom_matchers.remove(made.matcher)
    shell.events.unregister("post_run_cell", made.names.forget)
