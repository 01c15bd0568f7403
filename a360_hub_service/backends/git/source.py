"""Fetching a commit of a repository with the git program."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from traitlets import Bool, Float, Int, List, Unicode

from a360_hub_service.backends.base import Health, Log
from a360_hub_service.backends.git.addresses import (
    check_address,
    check_ref,
    is_commit,
    pinned,
    refused,
    server_of,
)
from a360_hub_service.backends.git.base import CodeSource, Fetched, GitError, GitLogin
from a360_hub_service.backends.git.explain import explain, no_branch
from a360_hub_service.backends.git.program import Git, GitFailed, make_repository
from a360_hub_service.backends.git.tree import read_entries, write_tree
from a360_hub_service.backends.hosts import ANY, Hosts, is_proxied

_HEADS, _TAGS = "refs/heads/", "refs/tags/"
_HERE = "refs/a360/fetched"


class GitSource(CodeSource):
    """Repositories at ``https://….git``, and at ``file:///….git`` where the operator allows it."""

    allow_file_urls = Bool(False, help="Allow file:///….git, read with the rights of this service.").tag(
        config=True
    )
    allow_http_urls = Bool(False, help="Allow http://, without encryption.").tag(config=True)
    allowed_hosts = List(
        Unicode(),
        [ANY],
        help="Hosts of repositories: host, host:port, *.example.org, or * for every public one. "
        "Only a host that is named may have a private address.",
    ).tag(config=True)
    timeout = Float(180.0, help="Seconds one fetch may take.").tag(config=True)
    max_bytes = Int(
        500_000_000, help="Bytes that may be fetched of a repository, and that its files may take."
    ).tag(config=True)
    max_files = Int(50_000, help="Files a repository may have.").tag(config=True)
    git = Unicode("git", help="The git program.").tag(config=True)

    @property
    def hosts(self) -> Hosts:
        """The hosts that repositories may be on."""
        return Hosts(tuple(self.allowed_hosts))

    def health(self) -> Health:
        """Say whether the git program is there."""
        found = shutil.which(self.git)
        return Health(bool(found), "" if found else f"The program {self.git} is not installed.")

    def check_url(self, url: str) -> None:
        """Raise `GitError` when this address may not be used."""
        schemes = ["https"] + ["http"] * self.allow_http_urls + ["file"] * self.allow_file_urls
        check_address(url, schemes, self.hosts)

    def check_access(self, url: str, login: GitLogin | None = None) -> None:
        """Raise `GitError` unless the repository can be read."""
        self.check_url(url)
        with tempfile.TemporaryDirectory(prefix="a360-git-") as folder, self._explained(url, "", login):
            git = self._git(Path(folder), url, login)
            git.run("ls-remote", "--", url, "HEAD")

    def fetch(self, url: str, branch: str, dest: Path, log: Log, login: GitLogin | None = None) -> Fetched:
        """Bring the tree of `branch` to `dest`; see `CodeSource.fetch`."""
        self.check_url(url)
        if branch:
            check_ref(branch)
        dest.parent.mkdir(parents=True, exist_ok=True)
        for stale in dest.parent.glob(f".{dest.name}-*"):
            shutil.rmtree(stale, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=f".{dest.name}-", dir=dest.parent))
        try:
            log(f"Fetching {url}, {branch or 'the default branch'}.")
            with self._explained(url, branch, login):
                git = self._git(work, url, login)
                found = self._fetch(git, url, branch)
                write_tree(git, read_entries(git, found.commit, self.max_files), work / "tree", log)
            os.replace(work / "tree", dest)
        except OSError as error:
            raise refused(
                f"The repository could not be stored: {error.strerror or error}.", "Free disk space."
            ) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
        log(f"Fetched {url}, {found.ref or 'a commit'}, at commit {found.commit}.")
        return found

    def _git(self, work: Path, url: str, login: GitLogin | None) -> Git:
        """Return git in a new repository of its own."""
        if not (health := self.health()).available:
            raise GitError(health.reason, hint="Ask the operator to install it.")
        parts, options = urlsplit(url), [f"protocol.{urlsplit(url).scheme}.allow=always"]
        if parts.scheme != "file" and not is_proxied(parts.scheme, parts.hostname or ""):
            options.append(f"http.curloptResolve={pinned(url, self.hosts)}")
        if login is not None and login.server != server_of(url):
            raise refused(
                f"The credential is for {login.server}, not for {server_of(url)}.", "Choose another one."
            )
        settings = [part for option in options for part in ("-c", option)]
        deadline = time.monotonic() + self.timeout
        git = Git(self.git, work, deadline, self.timeout, self.max_bytes, settings, login)
        make_repository(work / "git")
        return git

    def _fetch(self, git: Git, url: str, branch: str) -> Fetched:
        """Fetch one commit without its history, into a ref of ours."""
        ref = "" if is_commit(branch) else _ref_of(git, url, branch)
        wanted = branch.lower() if is_commit(branch) else ref or "HEAD"
        git.run("fetch", "--quiet", "--depth=1", "--no-tags", "--", url, f"+{wanted}:{_HERE}")
        try:
            commit = git.run("rev-parse", "--verify", "--quiet", f"{_HERE}^{{commit}}").decode().strip()
        except GitFailed as failed:
            raise GitError(f"{branch!r} is no commit.", hint="Name a branch.", field="branch") from failed
        return Fetched(commit, ref)

    @contextmanager
    def _explained(self, url: str, branch: str, login: GitLogin | None) -> Iterator[None]:
        try:
            yield
        except GitFailed as failed:
            raise explain(failed.said, url, branch, login, self.max_bytes) from failed


def _ref_of(git: Git, url: str, branch: str) -> str:
    """Return the whole name of a branch or a tag, branches first, or of the default branch if it has one."""
    asked = ["HEAD"]
    if branch:
        plain = branch.removeprefix(_HEADS).removeprefix(_TAGS)
        asked = [name for name in (_HEADS + plain, _TAGS + plain) if branch in (plain, name)]
    told = git.run("ls-remote", "--symref", "--", url, *asked).decode("utf-8", "replace")
    pairs = [line.split("\t", 1) for line in told.splitlines() if "\t" in line]
    if not branch:
        if not pairs:
            raise refused(f"The repository at {url} is empty.", "Push a commit, or name a branch.")
        named = [what.removeprefix("ref: ") for what, name in pairs if name == "HEAD" and "ref: " in what]
        return named[0] if named and named[0].startswith(_HEADS) else ""
    found = {name for _, name in pairs}
    try:
        return next(name for name in asked if name in found)
    except StopIteration:
        raise no_branch(branch) from None
