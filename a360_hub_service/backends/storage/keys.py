"""Keys of files: relative paths with forward slashes, the same rules for every kind of storage."""

import unicodedata

from ...errors import Invalid

PART = ".a360-part"
"""Ending of the names of files and folders that are not finished; never listed, never a user's."""

HIDDEN = ".a360"
"""Folder of a volume that holds the contents of all versions; never listed, never a user's."""

MOST_BYTES = 1024
MOST_PART_BYTES = 255


def check_key(key: str, *, field: str = "key") -> str:
    """A key as it came, if it is one.

    Parameters
    ----------
    key
        Such as ``folder/data.csv``.
    field
        The name of the input, for the error.

    Raises
    ------
    Invalid
        If it is absolute, leads out of the volume, is too long, or holds characters no storage takes.
    """
    problem = _problem(key)
    if problem:
        raise Invalid.field(field, problem, hint="Write it like “folder/data.csv”.")
    return key


def check_prefix(prefix: str) -> str:
    """The folder a list starts from, without a slash at its end; empty for the whole volume."""
    folder = prefix.removesuffix("/")
    return check_key(folder, field="prefix") if folder else ""


def _problem(key: str) -> str:
    if not key:
        return "is empty"
    if "\\" in key:
        return "folders are separated by “/”, not by “\\”"
    if any(unicodedata.category(character) in ("Cc", "Cs", "Cn") for character in key):
        return "holds characters that cannot be in a name"
    parts = key.split("/")
    if not parts[0]:
        return "starts with “/”; it is relative to the data repo"
    if not all(parts):
        return "has an empty part between two slashes or at its end"
    if any(part in (".", "..") for part in parts):
        return "“.” and “..” are not names of folders or files"
    if any(part.endswith(PART) for part in parts):
        return f"names that end with “{PART}” are the platform's own"
    if parts[0] == HIDDEN:
        return f"“{HIDDEN}” is the platform's own folder"
    if len(key.encode()) > MOST_BYTES:
        return f"has more than {MOST_BYTES} bytes"
    if any(len(part.encode()) > MOST_PART_BYTES for part in parts):
        return f"has a part of more than {MOST_PART_BYTES} bytes"
    return ""
