"""What ``conda`` and ``mamba`` are in workspaces: the list of packages; all else says what to do with pip.

Environments are made from locks of pip's packages. Notebooks still say ``!conda list``.
"""

import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from importlib.metadata import distributions

_WIDTHS = (25, 15)
_ADVICE = {
    "install": "pip install",
    "update": "pip install --upgrade",
    "upgrade": "pip install --upgrade",
    "remove": "pip uninstall --yes",
    "uninstall": "pip uninstall --yes",
}


def listing(pattern: str = "") -> str:
    """Return the packages of this environment as ``conda list`` prints them.

    Args:
        pattern: part of a name, or a name with ``*``.
    """
    found: dict[str, str] = {}
    for distribution in distributions():  # the first one on the path is the one that is imported
        found.setdefault(str(distribution.metadata["Name"]).lower(), distribution.version)
    found["python"] = sys.version.partition(" ")[0]
    shown = {n: v for n, v in found.items() if pattern.lower() in n or fnmatch(n, pattern.lower())}
    rows = [("# Name", "Version", "Build  Channel")]
    rows += [(name, shown[name], "pypi_0  pypi") for name in sorted(shown)]
    lines = [f"{name:<{_WIDTHS[0]}} {version:<{_WIDTHS[1]}} {rest}" for name, version, rest in rows]
    return "\n".join([f"# packages in environment at {sys.prefix}:", "#", *lines])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit code."""
    given = [word for word in (sys.argv[1:] if arguments is None else arguments) if not word.startswith("-")]
    command, rest = (given[0], given[1:]) if given else ("", [])
    if command == "list":
        print(listing(rest[0] if rest else ""))
        return 0
    advice = " ".join([_ADVICE[command], *rest]) if command in _ADVICE else "pip help"
    print(f"This workspace has no conda: its packages are pip's. Use: {advice}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
