"""Fetching code from real repositories: files, and HTTP by git's own server program."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from a360_hub_service.backends.git import GitError, GitSource
from a360_hub_service.backends.hosts import ANY
from a360_hub_service.backends.images.bundle import copy_tree
from tests.support.endpoints import free_port, write_files
from tests.support.git_server import GitServer, git, git_server, publish, serve_code

HERE = ["127.0.0.1"]


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Repositories to copy: made once, they are cheap."""
    folder = tmp_path_factory.mktemp("code")
    serve_code(folder)
    return folder


@pytest.fixture
def served(code: Path, tmp_path: Path) -> Path:
    """A folder of bare repositories; ``code.git`` has a main branch, a branch ``next`` and a tag ``v1``."""
    shutil.copytree(code, tmp_path, dirs_exist_ok=True)
    return tmp_path / "served"


@pytest.fixture
def server(served: Path) -> Iterator[GitServer]:
    """The folder over HTTP."""
    with git_server(served) as running:
        yield running


@pytest.fixture
def source() -> GitSource:
    return GitSource(allow_file_urls=True, allow_http_urls=True, allowed_hosts=[ANY, *HERE], timeout=30.0)


@pytest.mark.row("F292")
@pytest.mark.parametrize("transport", ["file", "http"])
@pytest.mark.parametrize(
    ("branch", "there", "absent"),
    [("", "main.txt", "next.txt"), ("next", "next.txt", "main.txt"), ("v1", "deploy/predict.py", "main.txt")],
)
def test_a_branch_is_fetched(
    source: GitSource,
    served: Path,
    server: GitServer,
    tmp_path: Path,
    transport: str,
    branch: str,
    there: str,
    absent: str,
) -> None:
    url = f"file://{served}/code.git" if transport == "file" else f"{server.url}/code.git"
    log: list[str] = []
    found = source.fetch(url, branch, tmp_path / "tree", log.append)
    assert found.commit == git(served / "code.git", "rev-parse", f"{branch or 'main'}^{{commit}}")
    assert (tmp_path / "tree" / there).is_file()
    assert not (tmp_path / "tree" / absent).exists()
    assert not (tmp_path / "tree" / ".git").exists()
    assert found.commit in log[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["served", "tree", "work"]


@pytest.mark.row("F292")
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.org/code.git", "must start with https://"),
        ("file:///srv/code.git", "must start with https://"),
        ("ssh://git@example.org/code.git", "must start with"),
        ("git@example.org:code.git", "must start with"),
        ("ext::sh -c id", "must start with"),
        ("https://example.org/code", "must end in .git"),
        ("https://user:secret@example.org/code.git", "must not hold a user name"),
        ("https:///code.git", "no host"),
        ("https://[example.org/code.git", "cannot be read"),
        ("https://example.org:99999/code.git", "cannot be read"),
        ("https://ex\u00e4mple.org/code.git", "unusual host"),
        ("https://\uff11\uff12\uff17.0.0.1/code.git", "unusual host"),
        ("https://example.org./code.git", "unusual host"),
        ("https://evil.org\\.example.org/code.git", "unusual host"),
        ("https://example.org%2f.evil.org/code.git", "unusual host"),
        ("https://example.org/code.git?x=.git", "must end in .git"),
        ("https://example.org/x#/code.git", "must end in .git"),
        ("https://example.org/a b.git", "blanks"),
        ("--upload-pack=id.git", "must start with"),
    ],
)
def test_addresses_that_may_not_be_used(tmp_path: Path, url: str, words: str) -> None:
    with pytest.raises(GitError, match=words) as caught:
        GitSource().fetch(url, "", tmp_path / "tree", print)
    assert caught.value.field == "repository"
    assert caught.value.hint
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("branch", ["--upload-pack=id", "a..b", "a b", "refs/heads/", "x~1", "@{-1}", "a\n"])
def test_names_that_are_no_branch(source: GitSource, served: Path, tmp_path: Path, branch: str) -> None:
    with pytest.raises(GitError) as caught:
        source.fetch(f"file://{served}/code.git", branch, tmp_path / "tree", print)
    assert caught.value.field == "branch"


@pytest.mark.parametrize("transport", ["file", "http"])
def test_a_branch_that_is_missing(
    source: GitSource, served: Path, server: GitServer, tmp_path: Path, transport: str
) -> None:
    url = f"file://{served}/code.git" if transport == "file" else f"{server.url}/code.git"
    with pytest.raises(GitError, match="no branch or tag 'production'") as caught:
        source.fetch(url, "production", tmp_path / "tree", print)
    assert caught.value.field == "branch"
    assert not (tmp_path / "tree").exists()


@pytest.mark.row("F308")
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("missing.git", "no repository"),
        ("private/code.git", "asks for a sign-in"),
        ("moved/code.git", "redirects are not followed"),
    ],
)
def test_what_the_server_refuses(
    served: Path, server: GitServer, tmp_path: Path, path: str, words: str
) -> None:
    source = GitSource(allow_http_urls=True, allowed_hosts=HERE)
    with pytest.raises(GitError, match=words) as caught:
        source.fetch(f"{server.url}/{path}", "", tmp_path / "tree", print)
    assert caught.value.hint
    assert not (tmp_path / "tree").exists()


@pytest.mark.row("F308")
@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "no-such-host.invalid"])
def test_a_server_that_cannot_be_reached(source: GitSource, tmp_path: Path, host: str) -> None:
    with pytest.raises(GitError, match="cannot be reached") as caught:
        source.fetch(f"https://{host.format(port=free_port())}/code.git", "", tmp_path / "tree", print)
    assert "Check the address" in caught.value.hint


def test_a_server_that_never_answers(server: GitServer, tmp_path: Path) -> None:
    source = GitSource(allow_http_urls=True, allowed_hosts=HERE, timeout=1.0)
    with pytest.raises(GitError, match="longer than 1 seconds"):
        source.fetch(f"{server.url}/slow.git", "", tmp_path / "tree", print)
    assert list(tmp_path.glob(".tree*")) == []


def test_a_repository_that_is_too_large(served: Path, tmp_path: Path) -> None:
    source = GitSource(allow_file_urls=True, max_bytes=1000)
    with pytest.raises(GitError, match="larger than"):
        source.fetch(f"file://{served}/code.git", "", tmp_path / "tree", print)
    assert not (tmp_path / "tree").exists()


def test_links_that_lead_nowhere_or_in_circles_are_no_trouble(
    source: GitSource, served: Path, tmp_path: Path
) -> None:
    work, copied = tmp_path / "work" / "deploy", tmp_path / "copied"
    (work / "itself").symlink_to("itself")
    (work / "gone").symlink_to("nowhere")
    (work / "up").symlink_to("..")
    (work / "here").symlink_to(".")
    publish(served, "circles.git", work.parent)
    source.fetch(f"file://{served}/circles.git", "", tmp_path / "tree", print)
    copy_tree(tmp_path / "tree" / "deploy", copied)
    # “up” is copied once, with the folder it is in; the links in that one lead back and are left out.
    assert sorted(path.relative_to(copied).as_posix() for path in copied.rglob("*") if path.is_file()) == [
        *("predict.py", "requirements.txt"),
        *("up/deploy/predict.py", "up/deploy/requirements.txt", "up/main.txt"),
    ]


def test_a_machine_without_git_says_so(tmp_path: Path) -> None:
    source = GitSource(git="no-such-program")
    with pytest.raises(GitError, match="not installed"):
        source.fetch("https://example.org/code.git", "", tmp_path / "tree", print)


def test_nothing_of_the_repository_runs(source: GitSource, served: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    proof = tmp_path / "proof"
    write_files(
        work, {".gitattributes": "*.txt filter=lfs\n", ".lfsconfig": f"[filter]\nsmudge = touch {proof}\n"}
    )
    git(work, "-c", "filter.lfs.clean=cat", "submodule", "add", "-q", f"{served}/code.git", "sub")
    publish(served, "hooks.git", work)
    hook = served / "hooks.git" / "hooks" / "post-checkout"
    write_files(hook.parent, {"post-checkout": f"#!/bin/sh\ntouch {proof}\n"})
    hook.chmod(0o755)
    source.fetch(f"file://{served}/hooks.git", "", tmp_path / "tree", print)
    assert not proof.exists()
    assert not (tmp_path / "tree" / "sub").exists()
    assert (tmp_path / "tree" / "main.txt").read_text() == "main"
