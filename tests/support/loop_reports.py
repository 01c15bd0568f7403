"""What the services of all tests said of their event loops: told at the end of the run, which fails by it."""

import os
import re
import tempfile
from pathlib import Path

BUDGET_MS = 50
WATCHED = f"c.A360HubService.loop_budget_ms = {BUDGET_MS}"
# Tests run beside each other, and a machine's host may be busy: what takes little more than the limit is told
# here, and held to it where nothing else runs (the tests marked `alone`).
CERTAIN_COMPUTING_MS = 3 * BUDGET_MS
CERTAIN_MS = 20 * BUDGET_MS
_SAID = re.compile(r"the event loop (?:loaded .*|was held up for (\d+) ms, (\d+) of them computing.*)")
_VARIABLE = "A360_TEST_LOOP_REPORTS"
_read: dict[Path, int] = {}


def begin() -> None:
    """Make the file of a run; its workers find it in their environment."""
    handle, name = tempfile.mkstemp(prefix="a360-loop-", suffix=".txt")
    os.close(handle)
    os.environ[_VARIABLE] = name


def collect(log: Path) -> None:
    """Take over what was added to a service's log since the last time."""
    if not log.is_file():
        return
    with log.open("rb") as source:
        source.seek(_read.get(log, 0))
        added = source.read()
        _read[log] = source.tell()
    said = [found.group(0) for found in _SAID.finditer(added.decode("utf-8", "replace"))]
    if said:
        test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
        with Path(os.environ[_VARIABLE]).open("a") as out:
            out.writelines(f"{line} ({test})\n" for line in said)


def end() -> list[str]:
    """All lines of the run; the file is gone after that."""
    path = Path(os.environ.pop(_VARIABLE))
    lines = path.read_text().splitlines()
    path.unlink()
    return lines


def is_certain(line: str) -> bool:
    """Whether a line tells a fault of the service, whatever else the machine did."""
    found = _SAID.match(line)
    if found is None or found.group(1) is None:
        return found is not None
    return int(found.group(1)) > CERTAIN_MS or int(found.group(2)) > CERTAIN_COMPUTING_MS
