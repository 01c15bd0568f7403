"""Orders of versions: which of two is newer, as PyPI and Debian see it."""

import re
from typing import Any

from debian_inspector.version import Version as DebianVersion
from packaging.version import InvalidVersion, Version

_DEBIAN = re.compile(r"(?:(\d+):)?([A-Za-z0-9.+~:-]+?)(?:-([A-Za-z0-9.+~]+))?")


def parse(ecosystem: str, text: str) -> Any:
    """Return what versions of an ecosystem ("PyPI", "Debian:12") are compared by.

    Raises `ValueError` for what is no version there.
    """
    if ecosystem.partition(":")[0] == "Debian":
        return debian(text)
    return python(text)


def python(text: str) -> Version:
    """Return a version of a Python package without its local part: a build of 1.0 is what 1.0 is."""
    try:
        return Version(Version(text).public)
    except InvalidVersion as error:
        raise ValueError(f"{text!r} is no version of a Python package") from error


def debian(text: str) -> DebianVersion:
    """Return a version of a Debian package."""
    found = _DEBIAN.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is no version of a Debian package")
    # Made directly, since from_string refuses some that dpkg takes, such as 1.0~.
    return DebianVersion(epoch=int(found[1] or 0), upstream=found[2], revision=found[3] or "0")
