"""Running the git program, with all switched off that a repository or a server could use against us."""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from a360_hub_service.backends import interruption
from a360_hub_service.backends.children import ending, tied
from a360_hub_service.backends.git.addresses import refused
from a360_hub_service.backends.git.base import GitError, GitLogin

# Given to every call: no hook, no filter, no helper program of the machine's or the user's configuration.
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.askPass=",
    "core.bigFileThreshold=16m",
    "credential.helper=",
    "protocol.allow=never",
    "protocol.https.allow=always",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "fetch.uriProtocols=",
    # One file to watch while it grows, in place of many.
    "fetch.unpackLimit=1",
    "fetch.fsckObjects=true",
    # Old programs wrote commits like this; nothing is endangered by it.
    *(
        f"fetch.fsck.{flaw}=ignore"
        for flaw in (
            "badDate",
            "badEmail",
            "badTimezone",
            "gitmodulesParse",
            "gitmodulesUrl",
            "missingEmail",
            "missingNameBeforeEmail",
            "missingSpaceBeforeDate",
            "missingSpaceBeforeEmail",
            "missingTaggerEntry",
            "zeroPaddedDate",
            "zeroPaddedFilemode",
        )
    ),
    # A redirect would take the login to where it leads.
    "http.followRedirects=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=30",
    "http.saveCookies=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "pack.threads=1",
    "transfer.bundleURI=false",
    "advice.detachedHead=false",
)
_OPTIONS = [part for setting in _SETTINGS for part in ("-c", setting)]
_SHOWN = 1_000_000
"""Bytes of what git says that are read."""
_ROOM_FOR_WORDS = 4096
_MEMORY = 1_000_000_000
"""Bytes of memory of git: a small pack can unfold to much."""
_LOOK = 0.2


class GitFailed(Exception):
    """Git ended with an error; holds what it said."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


@dataclass
class Git:
    """The git program in a folder, until a point in time (of `time.monotonic`) and up to a size in bytes."""

    program: str
    work: Path
    deadline: float
    seconds: float
    max_bytes: int
    options: Sequence[str] = ()
    login: GitLogin | None = field(default=None, repr=False)

    def run(self, *arguments: str, most: int = _SHOWN) -> bytes:
        """Run one command and return what it wrote, of which it may write `most` bytes.

        Raises
        ------
        GitFailed
            If it ends with an error, which it does when a file grows over the limit.
        GitError
            If it takes too long, or the folder grows too large.
        """
        remote = arguments[0] in ("fetch", "ls-remote")
        largest = self.max_bytes if remote else most
        out, err = self.work / "out", self.work / "err"
        with out.open("wb") as output, err.open("wb") as errors, self._login(remote) as (options, inherited):
            # On a disk that is full it must still be able to say so.
            os.posix_fallocate(errors.fileno(), 0, _ROOM_FOR_WORDS)
            process = subprocess.Popen(
                self._command([*options, *arguments], largest),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
                env=self._environment(),
                pass_fds=inherited,
            )
            with ending(process):
                while True:
                    try:
                        process.wait(_LOOK)
                        break
                    except subprocess.TimeoutExpired:
                        interruption.check()
                        self.check_limits()
        self.check_limits()
        if process.returncode:
            said = _read(err, _SHOWN).rstrip(b"\0").decode("utf-8", "replace")
            signal = f"\nerror: git died of signal {-process.returncode}" if process.returncode < 0 else ""
            raise GitFailed(said + signal)
        return _read(out, most)

    @contextlib.contextmanager
    def stream(self, *arguments: str) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """Run a command that reads and writes by turns; yields its standard input and output."""
        process = subprocess.Popen(
            self._command(arguments, self.max_bytes),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=self._environment(),
        )
        assert process.stdin
        assert process.stdout
        watch = threading.Timer(max(0.0, self.deadline - time.monotonic()), process.kill)
        watch.start()
        try:
            with ending(process):
                yield process.stdin, process.stdout
        finally:
            watch.cancel()

    def check_limits(self) -> None:
        """Raise `GitError` when it takes too long or the folder is too large."""
        if time.monotonic() > self.deadline:
            raise refused(
                f"Fetching the repository took longer than {self.seconds:.0f} seconds.",
                "Check that the server is up, or make the repository smaller.",
            )
        if _size(self.work) > self.max_bytes:
            raise too_large(self.max_bytes)

    def _command(self, arguments: Sequence[str], largest: int) -> list[str]:
        command = [self.program, *_OPTIONS, *self.options, f"--git-dir={self.work / 'git'}", *arguments]
        return tied(command, FSIZE=largest, DATA=_MEMORY, CORE=0)

    @contextlib.contextmanager
    def _login(self, remote: bool) -> Iterator[tuple[list[str], tuple[int, ...]]]:
        """Yield the options and the open file with which git gets the login.

        It reads it from a pipe: lists of processes show command lines, and some show environments.
        """
        if not remote or self.login is None:
            yield [], ()
            return
        reading, writing = os.pipe()
        try:
            os.write(writing, f"username={self.login.username}\npassword={self.login.token}\n".encode())
            os.close(writing)
            helper = f"credential.{self.login.server}.helper=!cat /dev/fd/{reading} #"
            yield ["-c", helper], (reading,)
        finally:
            os.close(reading)

    def _environment(self) -> dict[str, str]:
        """Return what git gets to see: no secrets of the service, no configuration of machine or user."""
        keep = ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO")
        proxies = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
        kept = {name: os.environ[name] for name in (*keep, *proxies) if name in os.environ}
        fixed = {
            "HOME": str(self.work),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "LC_ALL": "C",
        }
        if "SSL_CERT_FILE" in kept:
            # Not every build of git looks there.
            kept.setdefault("GIT_SSL_CAINFO", kept["SSL_CERT_FILE"])
        return kept | fixed


def make_repository(folder: Path) -> None:
    """Make an empty bare repository, as `git init` does without its templates."""
    for name in ("objects/pack", "refs/heads"):
        (folder / name).mkdir(parents=True)
    (folder / "HEAD").write_text("ref: refs/heads/none\n", "utf-8")
    (folder / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n", "utf-8")


def too_large(limit: int) -> GitError:
    """Return the error of a repository over the limit of bytes."""
    return refused(
        f"The repository is larger than {limit // 1_000_000} MB.",
        "Keep data out of the repository of the script.",
    )


def _read(file: Path, most: int) -> bytes:
    with file.open("rb") as opened:
        return opened.read(most)


def _size(folder: Path) -> int:
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            # Git renames and deletes files while it works.
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(root, name)).st_size
    return total
