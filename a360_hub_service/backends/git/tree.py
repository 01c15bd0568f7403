"""The files of a commit: what they are is read and checked before the first is written, and git writes none.

Git's own checkout obeys what the repository says (attributes, filters, conversions) and has no limits: a few
objects can stand for billions of files.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from a360_hub_service.backends import interruption
from a360_hub_service.backends.base import Log
from a360_hub_service.backends.git.addresses import refused
from a360_hub_service.backends.git.base import GitError
from a360_hub_service.backends.git.program import Git, GitFailed, too_large

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"
"""How a file begins that stands for one in Git's Large File Storage."""
_LINK, _SUBMODULE, _PROGRAM = "120000", "160000", "100755"
_LINE = 300
"""Bytes a file may take in the listing, on average."""
_PIECE = 1024 * 1024
_LONGEST_PATH, _LONGEST_NAME, _LONGEST_LINK = 1000, 255, 4096
_GIT = re.compile(r"(?i)\.git(::?\$.*)?|git~[0-9]+")
# Some file systems take no notice of these characters in a name.
_UNSEEN = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")


@dataclass(frozen=True)
class Entry:
    """One file of a commit: its mode as six digits, its object, its size in bytes and its path."""

    mode: str
    oid: str
    size: int
    name: str


def read_entries(git: Git, commit: str, max_files: int) -> list[Entry]:
    """Return the files, links and submodules of a commit, all checked. Raises `GitError` or `GitFailed`."""
    most = _LINE * max_files
    try:
        listing = git.run("ls-tree", "-r", "-l", "-z", "--full-tree", commit, most=most)
    except GitFailed as failed:
        # It came to the end of the file it may write.
        if "signal 25" in failed.said or "File too large" in failed.said:
            raise _too_many(max_files) from failed
        raise
    entries = [_entry(line) for line in listing.split(b"\0") if line]
    if len(entries) > max_files:
        raise _too_many(max_files)
    if sum(entry.size for entry in entries) > git.max_bytes:
        raise too_large(git.max_bytes)
    for entry in entries:
        _check_name(entry.name)
    return entries


def write_tree(git: Git, entries: Sequence[Entry], tree: Path, log: Log) -> None:
    """Write the files into the new folder `tree`; what is not brought is told to `log`.

    Links come last, so that nothing is ever written through one. Raises `GitError` or `OSError`.
    """
    tree.mkdir()
    links = {}
    pointers = []
    wanted = [entry for entry in entries if entry.mode != _SUBMODULE]
    with git.stream("cat-file", "--batch") as (asked, answers):
        for entry in wanted:
            interruption.check()
            asked.write(f"{entry.oid}\n".encode())
            asked.flush()
            pieces = _content(git, answers, entry)
            if entry.mode == _LINK:
                links[entry.name] = b"".join(pieces)
            elif _write(tree / entry.name, pieces, entry.mode == _PROGRAM).startswith(LFS_POINTER):
                pointers.append(entry.name)
    for name, target in links.items():
        _link(tree, name, target)
    for name in links:
        _check_link(tree, name)
    if submodules := [entry.name for entry in entries if entry.mode == _SUBMODULE]:
        log(f"Warning: submodules are not fetched: {_some(submodules)}.")
    if pointers:
        log(f"Warning: only pointers of Git LFS are there, not the files they stand for: {_some(pointers)}.")


def _entry(line: bytes) -> Entry:
    about, _, path = line.partition(b"\t")
    mode, _, oid, size = about.decode("ascii").split()
    try:
        name = path.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = path.decode("utf-8", "backslashreplace")
        raise refused(f"The name {shown} in the repository is not UTF-8.", "Rename the file.") from error
    return Entry(mode, oid, 0 if size == "-" else int(size), name)


def _check_name(name: str) -> None:
    shown = name.encode("unicode_escape").decode("ascii")
    if len(name.encode()) > _LONGEST_PATH:
        raise refused(f"A path in the repository is too long: {shown[:100]}….", "Use shorter names.")
    for part in name.split("/"):
        plain = _UNSEEN.sub("", part).rstrip(" .")
        if part in ("", ".", "..") or _GIT.fullmatch(plain):
            raise refused(
                f"The repository holds the path {shown}, which can do harm where it is copied to.",
                "Remove it from the repository, or use another one.",
            )
        if len(part.encode()) > _LONGEST_NAME:
            raise refused(f"A name in the repository is too long: {shown[:100]}….", "Use shorter names.")
        if not part.isprintable():
            raise refused(f"The name {shown} in the repository holds control characters.", "Rename the file.")


def _content(git: Git, answers: IO[bytes], entry: Entry) -> Iterator[bytes]:
    """Yield what git answers about one file, in pieces."""
    head = answers.readline().split()
    left = entry.size if len(head) == 3 and head[2] == str(entry.size).encode() else -1
    while left > 0 and (piece := answers.read(min(left, _PIECE))):
        left -= len(piece)
        yield piece
    if left or answers.read(1) != b"\n":
        git.check_limits()
        raise refused(f"The file {entry.name} of the repository is damaged.", "Push it again.")


def _write(path: Path, pieces: Iterator[bytes], program: bool) -> bytes:
    """Write a new file and return how it begins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o755 if program else 0o644), "wb") as file:
        first = next(pieces, b"")
        file.write(first)
        for piece in pieces:
            file.write(piece)
    return first


def _link(tree: Path, name: str, content: bytes) -> None:
    path = tree / name
    if not content or len(content) > _LONGEST_LINK or b"\0" in content:
        raise refused(f"The link {name} in the repository is damaged.", "Remove the link.")
    path.parent.mkdir(parents=True, exist_ok=True)
    os.symlink(content, path)


def _check_link(tree: Path, name: str) -> None:
    """Refuse a link that leads out, by itself or through other links. Raises `GitError`."""
    path = tree / name
    leads = PurePosixPath(os.readlink(path))
    # Unlike Path.resolve, this does not mind a link that leads to itself.
    inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(tree))
    if leads.is_absolute() or not inside:
        raise refused(f"The link {name} in the repository leads out of it.", "Remove the link.")


def _too_many(most: int) -> GitError:
    return refused(
        f"The repository has more than {most:,} files.", "Keep data out of the repository of the script."
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(sorted(names)[:5])}{more}"
