"""Repositories and servers that mean harm: nothing of them runs, and nothing of them gets out."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest

from a360_hub_service.backends.git import GitError, GitLogin, GitSource
from a360_hub_service.backends.hosts import ANY, GuardedTransport, Hosts
from tests.support.authority import server_context
from tests.support.endpoints import write_files
from tests.support.git_server import (
    GitServer,
    empty_repository,
    git,
    git_server,
    publish,
    publish_tree,
    serve_code,
    write_object,
)

HERE = ["127.0.0.1"]
TOKEN = "a-token-of-the-server"
FILE, LINK, FOLDER = "100644", "120000", "40000"


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Repositories to copy: made once, they are cheap."""
    folder = tmp_path_factory.mktemp("code")
    serve_code(folder)
    return folder


@pytest.fixture
def served(code: Path, tmp_path: Path) -> Path:
    shutil.copytree(code, tmp_path, dirs_exist_ok=True)
    return tmp_path / "served"


@pytest.fixture
def server(served: Path) -> Iterator[GitServer]:
    with git_server(served) as running:
        yield running


def source(**settings: Any) -> GitSource:
    given = {"allow_file_urls": True, "allow_http_urls": True, "allowed_hosts": HERE, "timeout": 30.0}
    return GitSource(**(given | settings))


def refusal(url: str, folder: Path, login: GitLogin | None = None, branch: str = "", **settings: Any) -> str:
    """Fetch what is refused; the message, without what differs from run to run."""
    with pytest.raises(GitError) as caught:
        source(**settings).fetch(url, branch, folder / "tree", print, login)
    assert caught.value.hint
    assert caught.value.field in ("repository", "branch")
    assert sorted(path.name for path in folder.iterdir() if "tree" in path.name) == []
    assert TOKEN not in caught.value.message
    message = caught.value.message.replace(url, "URL")
    return re.sub(r"\b[0-9a-f]{40}\b", "OID", message)


@pytest.mark.row("F292")
@pytest.mark.parametrize(
    ("links", "wrong"),
    [
        ({"deploy/config": "/etc/passwd"}, "deploy/config"),
        ({"deploy/config": "../../outside"}, "deploy/config"),
        ({"deploy/gone": "/nowhere/at/all"}, "deploy/gone"),
        ({"gone": "../nowhere"}, "gone"),
        ({"folder": ".."}, "folder"),
        # Each leads inside by its words; one through the other does not.
        ({"a/b/up": "../..", "out": "a/b/up/../secret"}, "out"),
        ({"to-itself": "/proc/self/cwd/main.txt"}, "to-itself"),
    ],
)
def test_links_that_lead_out(served: Path, tmp_path: Path, links: dict[str, str], wrong: str) -> None:
    work = tmp_path / "work"
    for name, target in links.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).symlink_to(target)
    publish(served, "links.git", work)
    said = refusal(f"file://{served}/links.git", tmp_path)
    assert said == f"The link {wrong} in the repository leads out of it."


_HARM = "which can do harm where it is copied to."
_FSCK = "The repository at URL is damaged, or made to do harm: "


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (".git", "hasDotgit: contains '.git'"),
        (".GIT", "hasDotgit: contains '.git'"),
        (".git ", "hasDotgit: contains '.git'"),
        (".git.", "hasDotgit: contains '.git'"),
        ("git~1", "hasDotgit: contains '.git'"),
        (".g\u200cit", "hasDotgit: contains '.git'"),
        ("GIT~2", f"The repository holds the path GIT~2, {_HARM}"),
        ("..", "hasDotdot: contains '..'"),
        (".", "hasDot: contains '.'"),
        ("a/b", "fullPathname: contains full pathnames"),
        ("../../../etc/cron.d/job", "fullPathname: contains full pathnames"),
        ("new\nline", r"The name new\nline in the repository holds control characters."),
        ("\x1b[2Jwiped", r"The name \x1b[2Jwiped in the repository holds control characters."),
        ("back\u202ewards", r"The name back\u202ewards in the repository holds control characters."),
        ("n" * 256, f"A name in the repository is too long: {'n' * 100}…."),
    ],
)
def test_names_that_do_harm(served: Path, tmp_path: Path, name: str, said: str) -> None:
    bare = empty_repository(served, "names.git")
    publish_tree(served, "names.git", [(FILE, write_object(bare, b"x"), name)])
    found = refusal(f"file://{served}/names.git", tmp_path)
    if not said.startswith(("The", "A name")):
        assert found.startswith(_FSCK)
        assert f"OID: {said}" in found
        return
    assert found == said


def test_a_name_that_is_no_text_and_a_path_without_end(served: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    Path(os.fsdecode(os.fsencode(work) + b"/caf\xe9.txt")).write_text("x")
    publish(served, "latin.git", work)
    assert refusal(f"file://{served}/latin.git", tmp_path) == (
        r"The name caf\xe9.txt in the repository is not UTF-8."
    )
    bare = empty_repository(served, "deep.git")
    below = write_object(bare, b"x")
    mode = FILE
    for _ in range(6):
        content = f"{mode} {'d' * 200}".encode() + b"\0" + bytes.fromhex(below)
        below, mode = git(bare, "hash-object", "-t", "tree", "-w", "--stdin", content=content), FOLDER
    publish_tree(served, "deep.git", [(mode, below, "d")])
    assert "A path in the repository is too long: d/ddd" in refusal(f"file://{served}/deep.git", tmp_path)


def test_the_same_name_twice(served: Path, tmp_path: Path) -> None:
    """A link and a folder of one name would have files written through the link."""
    bare = empty_repository(served, "twice.git")
    link, file = write_object(bare, b"/tmp"), write_object(bare, b"x")
    content = f"{FILE} file".encode() + b"\0" + bytes.fromhex(file)
    folder = git(bare, "hash-object", "-t", "tree", "-w", "--stdin", content=content)
    publish_tree(served, "twice.git", [(LINK, link, "a"), (FOLDER, folder, "a")])
    said = refusal(f"file://{served}/twice.git", tmp_path)
    assert said.startswith(_FSCK)
    assert "duplicateEntries: contains duplicate file entries" in said


@pytest.mark.parametrize("levels", [10])
def test_objects_that_stand_for_billions_of_files(served: Path, tmp_path: Path, levels: int) -> None:
    bare = empty_repository(served, "bomb.git")
    below, mode = write_object(bare, b"boom"), FILE
    for _ in range(levels):
        content = b"".join(f"{mode} f{index}".encode() + b"\0" + bytes.fromhex(below) for index in range(10))
        below, mode = git(bare, "hash-object", "-t", "tree", "-w", "--stdin", content=content), FOLDER
    publish_tree(served, "bomb.git", [(mode, below, "d")])
    said = refusal(f"file://{served}/bomb.git", tmp_path, max_files=2000)
    assert said == "The repository has more than 2,000 files."


@pytest.mark.parametrize("kind", ["noise", "zeros"])
def test_the_size_is_limited_while_it_is_fetched(
    served: Path, server: GitServer, tmp_path: Path, kind: str
) -> None:
    """Of noise, which is as large on the way; of zeros, which unfold when they are there."""
    content = os.urandom(3_000_000) if kind == "noise" else bytes(3_000_000)
    (tmp_path / "work" / "data").write_bytes(content)
    publish(served, "large.git", tmp_path / "work")
    said = refusal(f"{server.url}/large.git", tmp_path, max_bytes=1_000_000)
    assert said == "The repository is larger than 1 MB."


def test_a_large_history_is_not_fetched(served: Path, server: GitServer, tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "data").write_bytes(os.urandom(3_000_000))
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "Large")
    (work / "data").unlink()
    commit = publish(served, "history.git", work)
    found = source(max_bytes=2_000_000).fetch(f"{server.url}/history.git", "", tmp_path / "tree", print)
    assert found.commit == commit


@pytest.mark.long
@pytest.mark.slow
def test_two_gigabytes_of_history_are_not_fetched(served: Path, server: GitServer, tmp_path: Path) -> None:
    bare = empty_repository(served, "huge.git")
    block = os.urandom(100_000_000)
    parts = []
    for index in range(20):
        # Each differs in its first bytes, so that git keeps all of them.
        parts += [
            f"blob\nmark :{index + 1}\ndata {len(block)}\n".encode(),
            index.to_bytes(4, "big"),
            block[4:],
        ]
        who = f"committer T <t@example.org> {index + 1} +0000"
        change = f"commit refs/heads/main\n{who}\ndata 1\nx\nM 100644 :{index + 1} data\n"
        parts.append(b"\n" + change.encode())
    parts.append(b"commit refs/heads/main\ncommitter T <t@example.org> 99 +0000\ndata 1\nx\nD data\n")
    parts.append(b"M 100644 inline predict.py\ndata 2\nx\n\n")
    settings = ("-c", "core.compression=0", "-c", "fastimport.unpackLimit=1")
    git(bare, *settings, "fast-import", "--quiet", "--big-file-threshold=1m", content=b"".join(parts))
    del parts
    assert sum(path.stat().st_size for path in bare.rglob("*.pack")) > 1_990_000_000
    source(max_bytes=2_000_000, timeout=20.0).fetch(f"{server.url}/huge.git", "", tmp_path / "tree", print)
    assert (tmp_path / "tree" / "predict.py").is_file()
    said = refusal(f"{server.url}/huge.git", tmp_path / "work", branch="main~1", max_bytes=2_000_000)
    assert "is not a name of a branch" in said
    large = git(bare, "rev-parse", "main~1")
    said = refusal(f"{server.url}/huge.git", tmp_path / "work", branch=large, max_bytes=2_000_000)
    assert said == "The repository is larger than 2 MB."


def test_files_are_as_they_were_committed(served: Path, tmp_path: Path) -> None:
    """What attributes ask for (filters, line ends, encodings, substitutions) is not done."""
    work = tmp_path / "work"
    attributes = (
        "*.lfs filter=lfs diff=lfs\n*.txt text eol=crlf\n*.id ident\n*.sub export-subst\n"
        "*.u16 working-tree-encoding=UTF-16\nmain.txt export-ignore\n"
    )
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"
    files = {"a.txt": "a\nb\n", "b.id": "$Id$\n", "c.sub": "$Format:%H$\n", "model.lfs": pointer}
    write_files(work, files | {".gitattributes": attributes})
    git(work, "-c", "filter.lfs.clean=cat", "add", "-A")
    publish(served, "attributes.git", work)
    log: list[str] = []
    source().fetch(f"file://{served}/attributes.git", "", tmp_path / "tree", log.append)
    for name, text in files.items():
        assert (tmp_path / "tree" / name).read_bytes().decode() == text
    assert (tmp_path / "tree" / "main.txt").is_file()
    assert log[1] == ("Warning: only pointers of Git LFS are there, not the files they stand for: model.lfs.")


def test_submodules_are_named_and_not_fetched(served: Path, server: GitServer, tmp_path: Path) -> None:
    work = tmp_path / "work"
    git(work, "submodule", "add", "-q", f"{server.url}/code.git", "lib/other")
    publish(served, "with-submodule.git", work)
    server.asked.clear()
    log: list[str] = []
    source().fetch(f"{server.url}/with-submodule.git", "", tmp_path / "tree", log.append)
    assert log[1] == "Warning: submodules are not fetched: lib/other."
    assert not (tmp_path / "tree" / "lib").exists()
    assert {path.split("/")[1] for path, _ in server.asked} == {"with-submodule.git"}


def test_a_submodule_that_is_an_option_is_refused(served: Path, tmp_path: Path) -> None:
    modules = '[submodule "x"]\n\tpath = -x\n\turl = --upload-pack=touch /tmp/a360-proof\n'
    bare = empty_repository(served, "modules.git")
    publish_tree(served, "modules.git", [(FILE, write_object(bare, modules.encode()), ".gitmodules")])
    said = refusal(f"file://{served}/modules.git", tmp_path)
    assert said.startswith(_FSCK)
    assert "gitmodulesPath" in said


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://127.0.0.1/code.git", "127.0.0.1 is not a public address"),
        ("https://localhost/code.git", "localhost"),
        ("https://[::1]/code.git", "::1 is not a public address"),
        ("https://[::ffff:127.0.0.1]/code.git", "::ffff:7f00:1|::ffff:127.0.0.1"),
        ("https://[64:ff9b::a00:1]/code.git", "64:ff9b::a00:1 is not a public address"),
        ("https://2130706433/code.git", "2130706433 (127.0.0.1) is not a public address"),
        ("https://0x7f.1/code.git", "0x7f.1 (127.0.0.1) is not a public address"),
        ("https://0/code.git", "0 (0.0.0.0) is not a public address"),
        ("https://10.1.2.3/code.git", "10.1.2.3 is not a public address"),
        ("https://169.254.169.254/latest/meta-data.git", "169.254.169.254 is not a public address"),
        ("https://100.64.0.1/code.git", "100.64.0.1 is not a public address"),
        ("https://224.0.0.1/code.git", "224.0.0.1 is not a public address"),
    ],
)
def test_private_addresses_are_for_the_operator_to_allow(tmp_path: Path, url: str, said: str) -> None:
    found = refusal(url, tmp_path, allowed_hosts=[ANY])
    assert found.startswith("The repository may not be fetched: ")
    assert any(words in found for words in said.split("|"))
    assert found.endswith("and the operator does not allow it by name.")


@pytest.mark.parametrize("allowed", [["github.com", "*.example.org"], []])
def test_only_hosts_of_the_operators_list(tmp_path: Path, allowed: list[str]) -> None:
    found = refusal("https://example.net/code.git", tmp_path, allowed_hosts=allowed)
    listed = ", ".join(allowed) or "none"
    assert found == (
        "The repository may not be fetched: example.net is not a host that the operator allows; "
        f"allowed: {listed}."
    )
    git_source = source(allowed_hosts=allowed)
    for url in ("https://github.com/a/b.git", "https://GIT.Example.ORG:8443/b.git") if allowed else ():
        git_source.check_url(url)


@pytest.mark.row("F149", "F151")
def test_a_login_opens_a_repository_and_is_seen_nowhere(
    server: GitServer, served: Path, tmp_path: Path
) -> None:
    seen: list[str] = []

    def looking(path: str, user: str, password: str) -> bool:
        """While git waits for an answer, look at what every process shows of itself."""
        for process in Path("/proc").glob("[0-9]*"):
            for about in ("cmdline", "environ"):
                try:
                    seen.append((process / about).read_bytes().decode("utf-8", "replace"))
                except OSError:
                    continue
        return (user, password) == ("x-access-token", "ghs_" + "7" * 36)

    server.allows = looking
    login = GitLogin(server.url, "x-access-token", "ghs_" + "7" * 36)
    log: list[str] = []
    url = f"{server.url}/private/code.git"
    found = source().fetch(url, "next", tmp_path / "tree", log.append, login)
    assert found.ref == "refs/heads/next"
    assert (tmp_path / "tree" / "next.txt").is_file()
    assert any("git" in text for text in seen)
    assert not [text for text in [*seen, *log, repr(login)] if "7" * 36 in text]


@pytest.mark.parametrize(
    ("login", "said"),
    [
        (None, "The server 127.0.0.1 asks for a sign-in for URL, or has no such repository."),
        ("wrong", "The server 127.0.0.1 does not accept the credential for URL."),
    ],
)
def test_a_private_repository_without_the_right_login(
    server: GitServer, tmp_path: Path, login: str | None, said: str
) -> None:
    given = GitLogin(server.url, "reader", login) if login else None
    assert refusal(f"{server.url}/private/code.git", tmp_path, given) == said


def test_a_login_goes_to_no_other_server(server: GitServer, served: Path, tmp_path: Path) -> None:
    with git_server(served) as other:
        login = GitLogin(server.url, "reader", TOKEN)
        assert refusal(f"{other.url}/private/code.git", tmp_path, login) == (
            f"The credential is for {server.url}, not for {other.url}."
        )
        for elsewhere in (other.url, f"file://{served}", "ext::sh -c id %S"):
            server.elsewhere = elsewhere
            assert refusal(f"{server.url}/moved/private/code.git", tmp_path, login) == (
                "The server 127.0.0.1 sends URL elsewhere; redirects are not followed."
            )
        assert other.asked == []


Make = Callable[[Path], str]


def _empty(served: Path) -> str:
    return str(empty_repository(served, "odd.git"))


def _sha256(served: Path) -> str:
    git(served, "init", "-q", "--bare", "--object-format=sha256", "-b", "main", "odd.git")
    bare = served / "odd.git"
    commit = git(bare, "commit-tree", git(bare, "mktree", content=b""), "-m", "x")
    git(bare, "update-ref", "refs/heads/main", commit)
    return str(bare)


def _damaged(served: Path) -> str:
    git(served, "clone", "-q", "--bare", "--no-hardlinks", "code.git", "odd.git")
    for path in (served / "odd.git" / "objects").rglob("??" + "?" * 36):
        path.chmod(0o644)
        path.write_bytes(b"nothing")
    return str(served / "odd.git")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_empty, "The repository at URL is empty."),
        (_sha256, "The repository at URL names its objects by SHA-256, which is not supported."),
        (_damaged, "Git could not fetch URL: .*"),
    ],
)
def test_repositories_that_cannot_be_used(
    served: Path, server: GitServer, tmp_path: Path, make: Make, said: str
) -> None:
    make(served)
    assert re.fullmatch(said, refusal(f"{server.url}/odd.git", tmp_path))


@pytest.mark.row("F292")
def test_a_commit_is_fetched_by_its_name(served: Path, server: GitServer, tmp_path: Path) -> None:
    first = git(served / "code.git", "rev-parse", "v1^{commit}")
    for place, name in (("a", first), ("b", first.upper())):
        found = source().fetch(f"{server.url}/code.git", name, tmp_path / place, print)
        assert (found.commit, found.ref) == (first, "")
        assert not (tmp_path / place / "main.txt").exists()
    for name, ref in (
        ("v1", "refs/tags/v1"),
        ("refs/heads/next", "refs/heads/next"),
        ("", "refs/heads/main"),
    ):
        found = source().fetch(f"{server.url}/code.git", name, tmp_path / f"to-{ref[-2:]}", print)
        assert found.ref == ref
    assert refusal(f"{server.url}/code.git", tmp_path / "work", branch="0" * 40) == (
        "The repository has no commit OID, or its server gives out no single commits."
    )
    with pytest.raises(GitError, match="no branch or tag") as caught:
        source().fetch(f"{server.url}/code.git", first[:12], tmp_path / "c", print)
    assert caught.value.hint == "Give all 40 digits of a commit."


def test_a_server_has_to_be_the_one_of_its_certificate(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, authority = server_context(tmp_path / "tls", "localhost")
    with git_server(served, tls=context) as server:
        assert refusal(f"{server.url}/code.git", tmp_path).startswith("No trusted connection to 127.0.0.1. (")
        monkeypatch.delenv("GIT_SSL_CAINFO", raising=False)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        assert refusal(f"{server.url}/code.git", tmp_path).startswith("No trusted connection to 127.0.0.1. (")
        url = server.url.replace("127.0.0.1", "localhost")
        login = GitLogin(url, "reader", TOKEN)
        named = source(allowed_hosts=["localhost"])
        named.fetch(f"{url}/private/code.git", "", tmp_path / "tree", print, login)
        # What goes to the API of an App and to registries of base images looks as closely.
        for host, trusted in (("localhost", True), ("127.0.0.1", False)):
            with (
                httpx.Client(transport=GuardedTransport(Hosts(("localhost", "127.0.0.1")))) as client,
                nullcontext() if trusted else pytest.raises(httpx.ConnectError, match="certificate"),
            ):
                client.get(f"{server.url.replace('127.0.0.1', host)}/code.git/HEAD").raise_for_status()


def test_what_a_killed_fetch_left_is_removed(served: Path, tmp_path: Path) -> None:
    left = tmp_path / "job" / ".tree-abc123"
    write_files(left, {"git/objects/pack/tmp_pack": "x"})
    source().fetch(f"file://{served}/code.git", "", tmp_path / "job" / "tree", print)
    assert [path.name for path in (tmp_path / "job").iterdir()] == ["tree"]
