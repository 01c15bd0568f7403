"""Fetching with the git program, with all switched off that a repository could use against this machine."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from traitlets import Bool, Float, Int, Unicode

from a360_hub_service.backends import interruption
from a360_hub_service.backends.base import Health, Log
from a360_hub_service.backends.children import ending
from a360_hub_service.backends.git.base import CodeSource, GitError

_REF = re.compile(r"^(?!-)(?!.*(\.\.|@\{|//|\.lock$|\.lock/|\.$|/$))[^\x00-\x20~^:?*\[\\\x7f]{1,250}$")

# Given to every call: no hook, no filter, no helper program of the machine's or the user's configuration.
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.symlinks=true",
    "protocol.allow=never",
    "protocol.https.allow=always",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "credential.helper=",
    "http.followRedirects=initial",
    "advice.detachedHead=false",
    "filter.lfs.smudge=",
    "filter.lfs.required=false",
    "gc.auto=0",
    "core.askPass=",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=30",
)
_OPTIONS = [part for setting in _SETTINGS for part in ("-c", setting)]

_EXPLANATIONS = (
    (r"could not resolve host|name or service not known|temporary failure in name resolution", "unreachable"),
    (
        r"failed to connect|connection refused|timed out|could(n't| not) connect|unable to connect",
        "unreachable",
    ),
    (
        r"operation too slow|connection reset|empty reply|network is unreachable|no route to host",
        "unreachable",
    ),
    (r"no space left on device", "full"),
    (r"transport '.*' not allowed|protocol .* not (supported|allowed)", "protocol"),
    (r"authentication failed|could not read username|terminal prompts disabled|error: 40[13]", "auth"),
    (r"remote branch .* not found|couldn't find remote ref|could not find remote", "branch"),
    (r"not found|does not exist|does not appear to be a git repository|no such file|error: 404", "missing"),
    (r"\bssl\b|certificate|\btls\b", "tls"),
)


class GitSource(CodeSource):
    """Repositories at ``https://….git``, and at ``file:///….git`` where the operator allows it."""

    allow_file_urls = Bool(False, help="Allow file:///….git, read with the rights of this service.").tag(
        config=True
    )
    allow_http_urls = Bool(False, help="Allow http://, without encryption.").tag(config=True)
    timeout = Float(180.0, help="Seconds one fetch may take.").tag(config=True)
    max_bytes = Int(500_000_000, help="Bytes a fetched tree with its history may take.").tag(config=True)
    git = Unicode("git", help="The git program.").tag(config=True)

    def health(self) -> Health:
        """Say whether the git program is there."""
        found = shutil.which(self.git)
        return Health(bool(found), "" if found else f"The program {self.git} is not installed.")

    def check_url(self, url: str) -> None:
        """Raise `GitError` when this address may not be used."""
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise _error(f"The repository address cannot be read: {error}.", "Correct the address.") from None
        schemes = ["https"] + ["http"] * self.allow_http_urls + ["file"] * self.allow_file_urls
        if parts.scheme not in schemes:
            allowed = " or ".join(f"{scheme}://" for scheme in schemes)
            raise _error(
                f"The repository address must start with {allowed}.",
                "Give the https address of the repository.",
            )
        if not parts.path.endswith(".git"):
            raise _error(
                "The repository address must end in .git.", "Copy the clone address of the repository."
            )
        if parts.username or parts.password:
            raise _error(
                "The repository address must not hold a user name or a password.", "Remove them from it."
            )
        if parts.scheme == "file" and parts.netloc not in ("", "localhost"):
            raise _error("A file address names no host.", "Write file:///path/to/repository.git.")
        if parts.scheme != "file" and not parts.hostname:
            raise _error("The repository address names no host.", "Write https://host/path.git.")
        if any(ord(char) <= 32 or ord(char) == 127 for char in url):
            raise _error("The repository address holds blanks or control characters.", "Remove them.")

    def fetch(self, url: str, branch: str, dest: Path, log: Log) -> str:
        """Bring the tree of `branch` to `dest`; see `CodeSource.fetch`."""
        self.check_url(url)
        if branch and not _REF.fullmatch(branch):
            raise GitError(
                f"{branch!r} is not a name of a branch.", hint="Check its spelling.", field="branch"
            )
        dest.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{dest.name}-", dir=dest.parent))
        try:
            commit = self._clone(url, branch, work / "tree", log)
            shutil.rmtree(work / "tree" / ".git")
            _refuse_escaping_links(work / "tree")
            os.replace(work / "tree", dest)
        except OSError as error:
            raise _error(
                f"The repository could not be stored: {error.strerror or error}.", "Free disk space."
            ) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
        log(f"Fetched {url} at commit {commit}.")
        return commit

    def _clone(self, url: str, branch: str, tree: Path, log: Log) -> str:
        log(f"Fetching {url}, {f'branch {branch}' if branch else 'default branch'}.")
        command = [
            "clone",
            "--depth=1",
            "--single-branch",
            "--no-tags",
            "--no-recurse-submodules",
            "--template=",
        ]
        # A local clone would hard-link the owner's objects instead of using the protocol and its checks.
        command += ["--no-local"] if url.startswith("file:") else []
        command += [f"--branch={branch}"] if branch else []
        self._run([*command, "--", url, str(tree)], url, branch, tree)
        return self._run(["-C", str(tree), "rev-parse", "HEAD^{commit}"], url, branch, tree).strip()

    def _run(self, arguments: list[str], url: str, branch: str, tree: Path) -> str:
        allowed = [
            scheme for scheme, on in (("file", self.allow_file_urls), ("http", self.allow_http_urls)) if on
        ]
        options = [part for scheme in allowed for part in ("-c", f"protocol.{scheme}.allow=always")]
        if not (health := self.health()).available:
            raise GitError(health.reason, hint="Ask the operator to install it.")
        process = subprocess.Popen(
            [self.git, *_OPTIONS, *options, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            env=_environment(tree.parent),
        )
        deadline = time.monotonic() + self.timeout
        with ending(process):
            while True:
                try:
                    out, err = process.communicate(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    interruption.check()
                    self._check_limits(tree, deadline, url)
        if process.returncode:
            raise _explain(err, url, branch)
        self._check_limits(tree, deadline + 1, url)
        return out

    def _check_limits(self, tree: Path, deadline: float, url: str) -> None:
        if time.monotonic() > deadline:
            raise _error(
                f"Fetching {url} took longer than {self.timeout:.0f} seconds.",
                "Check that the server is up, or make the repository smaller.",
            )
        if _size(tree) > self.max_bytes:
            raise _error(
                f"The repository is larger than {self.max_bytes // 1_000_000} MB.",
                "Keep data out of the repository of the script.",
            )


def _environment(home: Path) -> dict[str, str]:
    """Return what git gets to see: nothing of the service's secrets, no configuration of machine or user."""
    keep = ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "HTTPS_PROXY", "https_proxy")
    kept = {name: os.environ[name] for name in (*keep, "NO_PROXY", "no_proxy") if name in os.environ}
    fixed = {
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "LC_ALL": "C",
    }
    return kept | fixed


def _size(folder: Path) -> int:
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            # Git renames and deletes files while it works.
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(root, name)).st_size
    return total


def _refuse_escaping_links(tree: Path) -> None:
    base = Path(os.path.realpath(tree))
    for root, folders, files in os.walk(tree):
        for name in (*folders, *files):
            path = Path(root, name)
            # Unlike Path.resolve, this does not mind a link that leads to itself.
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(base):
                shown = path.relative_to(tree)
                raise _error(f"The link {shown} in the repository leads out of it.", "Remove the link.")


def _error(message: str, hint: str) -> GitError:
    return GitError(message, hint=hint, field="repository")


def _explain(output: str, url: str, branch: str) -> GitError:
    """Turn what git wrote into an error a person can act on."""
    lines = [line for line in output.splitlines() if line.startswith(("fatal:", "error:", "remote:"))]
    said = " ".join(lines or output.splitlines())[-500:].strip()
    kind = next((kind for pattern, kind in _EXPLANATIONS if re.search(pattern, said, re.I)), "other")
    host = urlsplit(url).hostname or "this machine"
    if kind == "unreachable":
        return _error(
            f"The git server {host} cannot be reached. ({said})", "Check the address and the network."
        )
    if kind == "tls":
        return _error(
            f"No trusted connection to {host}. ({said})", "Install the server's certificate authority."
        )
    if kind == "auth":
        return _error(
            f"The server {host} asks for a sign-in for {url}, or has no such repository.",
            "Check the address, or make the repository readable for the platform.",
        )
    if kind == "branch":
        return GitError(
            f"The repository has no branch or tag {branch!r}.",
            hint="Check its name, or push it.",
            field="branch",
        )
    if kind == "missing":
        return _error(f"There is no repository at {url}. ({said})", "Check the address.")
    if kind == "protocol":
        return _error(
            f"{url} leads to a kind of address that is not allowed. ({said})", "Use an https address."
        )
    if kind == "full":
        return _error("No space is left on the disk of the platform.", "Free disk space, then package again.")
    return _error(
        f"Git could not fetch {url}: {said or 'it gave no reason'}.", "Check the address and the branch."
    )
