"""Running the validation input of a package against the package itself, and comparing what comes out."""

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from a360_hub_service.backends.base import Log
from a360_hub_service.backends.children import finished, tied
from a360_hub_service.backends.images.base import BuildError, BuildRequest

RELATIVE_TOLERANCE = 1e-6
"""How far a number may be from the expected one: a float32 model has no more digits."""

_MAX_FILE = 100_000_000
_SHOWN = 500
"""Characters of a value in a message."""

Runner = Callable[[list[str], Path | None], subprocess.CompletedProcess[str]]
"""Runs ``run.py`` with arguments in a package; the path is the file of the input, when there is one."""


def check_package(request: BuildRequest, run: Runner, log: Log, place: Path) -> None:
    """Load the package, run its validation input through it, compare. Raises `BuildError`.

    The input lies in a folder in `place` meanwhile, where what a killed service left is removed.
    """
    if not request.validation_input:
        log("Loading the package once (no validation input is given).")
        _answer(run(["--check"], None), "")
        return
    log("Running the validation input.")
    with tempfile.TemporaryDirectory(prefix=f".{request.package_id}-", dir=place) as folder:
        Path(folder).chmod(0o755)
        body = Path(folder, "input.json")
        body.write_text(request.validation_input, "utf-8")
        body.chmod(0o644)
        answer = _answer(run(["--validate"], body), "validation_input")
    log(f"The answer is {answer[:500]}")
    if request.validation_output:
        compare(answer, request.validation_output)
        log("It is what the validation output asks for.")


def _answer(done: subprocess.CompletedProcess[str], field: str) -> str:
    if done.returncode == 0:
        return done.stdout
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    reason = lines[-1] if lines else f"it ended with code {done.returncode}"
    if done.returncode < 0:
        reason = f"it was ended by {signal.Signals(-done.returncode).name}"
    if reason.startswith("ModuleNotFoundError"):
        hint = "Add the package of this module to the dependencies file."
        raise BuildError(f"The script cannot be loaded: {reason}", hint=hint, field="dependencies")
    shown = "\n".join(lines[-15:])
    what = "failed on the validation input" if field else "cannot be loaded"
    raise BuildError(f"The script {what}: {reason}", hint=f"The end of its output:\n{shown}", field=field)


def compare(answer: str, expected: str) -> None:
    """Raise `BuildError` naming the first difference between an answer and the expected output.

    `expected` is the whole answer, or only the prediction; text that is not JSON is compared as text.
    """
    given = json.loads(answer)["prediction"]
    try:
        wanted = json.loads(expected)
    except (ValueError, RecursionError):
        wanted = expected
    if isinstance(wanted, dict) and set(wanted) == {"prediction"} and not _is_wrapped(given):
        wanted = wanted["prediction"]
    difference = _difference(given, wanted, "prediction")
    if difference:
        raise BuildError(
            f"The answer differs from the validation output: {difference}.",
            hint="Correct the script or the validation output.",
            field="validation_output",
        )


def _is_wrapped(given: Any) -> bool:
    return isinstance(given, dict) and set(given) == {"prediction"}


def _difference(given: Any, wanted: Any, where: str) -> str:
    if _is_number(given) and _is_number(wanted):
        close = math.isclose(given, wanted, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-12)
        return "" if close else f"{where} is {given}, expected {wanted}"
    if isinstance(given, dict) and isinstance(wanted, dict):
        if given.keys() != wanted.keys():
            return f"{where} has the members {sorted(given)}, expected {sorted(wanted)}"
        pairs = ((given[key], wanted[key], f"{where}.{key}") for key in given)
    elif isinstance(given, list) and isinstance(wanted, list):
        if len(given) != len(wanted):
            return f"{where} has {len(given)} items, expected {len(wanted)}"
        pairs = ((a, b, f"{where}[{at}]") for at, (a, b) in enumerate(zip(given, wanted, strict=True)))
    else:
        same = type(given) is type(wanted) and given == wanted
        return "" if same else f"{where} is {repr(given)[:_SHOWN]}, expected {repr(wanted)[:_SHOWN]}"
    return next((found for pair in pairs if (found := _difference(*pair))), "")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def local_runner(bundle: Path, timeout: float, memory: int) -> Runner:
    """Return what runs a bundle in a process of its own with limits: seconds and bytes of data."""

    limits = {"DATA": memory, "CPU": int(timeout) + 1, "FSIZE": _MAX_FILE, "CORE": 0}
    launch = [sys.executable, "-I", "-S", str(bundle / "run.py")]

    def run(arguments: list[str], body: Path | None) -> subprocess.CompletedProcess[str]:
        command = [*launch, *arguments, *([str(body)] if body else [])]
        with tempfile.TemporaryDirectory(prefix=".home-", dir=bundle.parent) as home:
            environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": home, "TMPDIR": home}
            try:
                return finished(tied(command, **limits), timeout, env=environment)
            except subprocess.TimeoutExpired as error:
                raise took_too_long(timeout) from error

    return run


def took_too_long(timeout: float) -> BuildError:
    """Return the error of a script that does not come to an end."""
    return BuildError(
        f"The script did not answer within {timeout:.0f} seconds.",
        hint="Look for endless loops, downloads or training in the script.",
        field="validation_input",
    )
