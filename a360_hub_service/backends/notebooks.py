"""Notebooks as HTML, made in a process of its own that has limits and knows nothing."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ..errors import Invalid, TooLarge, Unavailable

LARGEST = 20_000_000
"""Bytes of a notebook that is shown; a larger one is for downloading."""
SECONDS = 40
"""Of a processor; on a machine that is busy with others that takes longer."""
PATIENCE = 120
MEMORY = 2_000_000_000
_LARGEST_PAGE = 80_000_000
_SCRIPT = Path(__file__).with_name("notebook_html.py")

# Limits itself, then becomes the script: code between fork and exec is not safe in a service with threads.
_LIMITED = """
import json, os, resource, sys
for name, value in json.loads(sys.argv[1]).items():
    hard = resource.getrlimit(getattr(resource, "RLIMIT_" + name))[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (value, value))
os.execv(sys.executable, [sys.executable, "-I", "-B", *sys.argv[2:]])
"""


def page(notebook: bytes, title: str, note: str) -> bytes:
    """Return a notebook as a page of HTML that runs nothing and loads nothing. Takes seconds: for threads.

    Parameters
    ----------
    notebook
        As it is stored.
    title
        What the page is called.
    note
        A line above the notebook.

    Raises
    ------
    TooLarge
        If the notebook, or its page, is too large to be shown.
    Invalid
        If it is no notebook.
    Unavailable
        If it takes too long.
    """
    if len(notebook) > LARGEST:
        raise TooLarge(f"The notebook has {len(notebook):,} bytes.", hint=_download())
    limits = {"DATA": MEMORY, "CPU": SECONDS, "FSIZE": 0, "CORE": 0}
    about = json.dumps({"title": title, "note": note})
    command = [sys.executable, "-I", "-B", "-c", _LIMITED, json.dumps(limits), str(_SCRIPT), about]
    with tempfile.TemporaryDirectory(prefix="a360-notebook-") as home:
        environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": home, "TMPDIR": home}
        try:
            done = subprocess.run(
                command, input=notebook, capture_output=True, env=environment, cwd=home, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"Showing it takes longer than {PATIENCE} seconds.", hint=_download()) from None
    if done.returncode == 2:
        raise Invalid(f"This is no notebook: {done.stderr.decode(errors='replace')}", hint=_download())
    if done.returncode != 0:
        raise Unavailable("It cannot be shown with the memory and time there is for that.", hint=_download())
    if len(done.stdout) > _LARGEST_PAGE:
        raise TooLarge(f"Its page would have {len(done.stdout):,} bytes.", hint=_download())
    return done.stdout


def _download() -> str:
    return "Download the artifact, and open it in a workspace."
