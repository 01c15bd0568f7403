"""The lock of an environment: what is installed where a notebook ran, as pip freeze says it."""

import subprocess
import sys

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

SECONDS = 60
# Runs in the kernel's own Python, which may be another than the server's.
_LIST = r"""
import json, platform, sys
from importlib.metadata import distributions

found = {}
for each in distributions():
    name = (each.metadata["Name"] or "").strip()
    if not name or name.lower() in found:
        continue  # an earlier folder of the path wins, as for import
    line = f"{name}=={each.version}"
    try:
        direct = json.loads(each.read_text("direct_url.json") or "null")
    except ValueError:
        direct = None
    if direct and direct.get("url"):
        # Addresses may carry credentials of an index or a repository.
        scheme, mark, rest = direct["url"].partition("://")
        host, slash, path = rest.partition("/")
        commit = (direct.get("vcs_info") or {}).get("commit_id")
        kind = (direct.get("vcs_info") or {}).get("vcs")
        address = scheme + mark + host.rpartition("@")[2] + slash + path.partition("?")[0]
        line = f"{name} @ {kind + '+' if kind else ''}{address}{'@' + commit if commit else ''}"
    found[name.lower()] = line
print(f"# Python {platform.python_version()} on {sys.platform}, {platform.machine()}")
print("\n".join(found[name] for name in sorted(found)))
"""


def lock(kernel_name: str) -> str:
    """Return the installed packages of a kernel's Python, one a line, below a line that names the Python.

    Args:
        kernel_name: the kernel; where it is no Python, the server's own environment is listed.
    """
    return _listed(_python(kernel_name)) or _listed(sys.executable)


def _python(kernel_name: str) -> str:
    try:
        spec = KernelSpecManager().get_kernel_spec(kernel_name)
    except NoSuchKernel:
        return sys.executable
    return str(spec.argv[0]) if spec.language.lower() == "python" and spec.argv else sys.executable


def _listed(python: str) -> str:
    try:
        done = subprocess.run([python, "-c", _LIST], capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
