"""Byte code that is the same each time, for images that cannot keep what they compile."""

import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from a360_hub_service.backends.children import tied

# Fresh processes with a fixed seed: byte code depends on the order of sets and on what else is in memory.
_COMPILE = """
import json, py_compile, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
for name in json.load(sys.stdin):
    py_compile.compile(name, dfile=sys.argv[1] + name, quiet=2, invalidation_mode=mode)
"""
# Fixed, whatever the machine has: which files share a process shows in their byte code.
_PROCESSES = 2


def compile_folder(folder: Path, shown: str = "") -> None:
    """Compile the modules in `folder` for this Python; files that are no Python stay without byte code.

    `shown` is put before the names that code objects hold. Raises `OSError` when byte code cannot be written.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py") if path.is_file())

    def compile_some(number: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            tied([sys.executable, "-S", "-c", _COMPILE, shown]),
            cwd=folder,
            env={"PYTHONHASHSEED": "0", "LANG": "C.UTF-8"},
            input=json.dumps(names[number::_PROCESSES]),
            capture_output=True,
            text=True,
            check=False,
        )

    with ThreadPoolExecutor(_PROCESSES) as pool:
        for done in pool.map(compile_some, range(_PROCESSES)):
            if done.returncode:
                raise _as_os_error(done.stderr)


def _as_os_error(said: str) -> OSError:
    last = (said.strip().splitlines() or ["the compiler of byte code was ended"])[-1]
    known = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
    number = next((number for number in known if os.strerror(number) in last), 0)
    return OSError(number, os.strerror(number)) if number else OSError(last)
