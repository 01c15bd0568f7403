"""Real git repositories, and a real git server: ``git http-backend`` behind HTTP or HTTPS, with sign-in."""

import base64
import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.endpoints import SCRIPT, write_files


def git(folder: Path, *arguments: str, content: bytes | None = None) -> str:
    """Run git as a person would; what it says."""
    identity = {"user.name": "Tester", "user.email": "tester@example.org", "protocol.file.allow": "always"}
    options = [part for name, value in identity.items() for part in ("-c", f"{name}={value}")]
    done = subprocess.run(
        ["git", *options, *arguments], cwd=folder, capture_output=True, input=content, check=True
    )
    return done.stdout.decode().strip()


def publish(folder: Path, name: str, work: Path) -> str:
    """Commit all of a working copy and clone it into a folder of bare repositories; the commit."""
    git(work, "add", "-A")
    git(work, "commit", "-q", "--allow-empty", "-m", "Work")
    git(folder, "clone", "-q", "--bare", str(work), name)
    return git(work, "rev-parse", "HEAD")


def publish_tree(folder: Path, name: str, tree: list[tuple[str, str, str]]) -> Path:
    """Make a repository of one commit with a hand-made tree: mode, object and name of each; its folder.

    Objects are those that :func:`write_object` made in the repository before.
    """
    bare = folder / name
    lines = b"".join(f"{mode} {name}".encode() + b"\0" + bytes.fromhex(oid) for mode, oid, name in tree)
    made = git(bare, "hash-object", "-t", "tree", "-w", "--stdin", "--literally", content=lines)
    commit = git(bare, "commit-tree", made, "-m", "Made by hand")
    git(bare, "update-ref", "refs/heads/main", commit)
    return bare


def empty_repository(folder: Path, name: str) -> Path:
    """Make a bare repository with nothing in it."""
    git(folder, "init", "-q", "--bare", "-b", "main", name)
    return folder / name


def write_object(bare: Path, content: bytes) -> str:
    """Put a file's content into a repository; its object."""
    return git(bare, "hash-object", "-w", "--stdin", content=content)


def serve_code(folder: Path) -> Path:
    """Make ``served/code.git`` in a folder: main, a branch ``next``, a tag ``v1``; returns ``served``.

    Its working copy is the folder ``work``, on main.
    """
    served = folder / "served"
    served.mkdir()
    work = write_files(folder / "work", {"deploy/predict.py": SCRIPT, "deploy/requirements.txt": "numpy\n"})
    git(work, "init", "-q", "-b", "main")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "First")
    git(work, "tag", "-a", "v1", "-m", "Version 1")
    git(work, "checkout", "-q", "-b", "next")
    write_files(work, {"next.txt": "next"})
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "Next")
    git(work, "checkout", "-q", "main")
    write_files(work, {"main.txt": "main"})
    publish(served, "code.git", work)
    return served


@dataclass
class GitServer:
    """A server that runs.

    ``accounts`` are the user names and passwords that open what begins with one of ``guarded``; ``allows``
    may open it to others. ``asked`` holds the paths and logins of all requests.
    """

    url: str
    root: Path
    accounts: dict[str, str] = field(default_factory=lambda: {"reader": "a-token-of-the-server"})
    allows: Callable[[str, str, str], bool] = lambda path, user, password: False
    asked: list[tuple[str, str]] = field(default_factory=list)
    guarded: tuple[str, ...] = ("/private",)
    elsewhere: str = ""
    hold: threading.Event = field(default_factory=threading.Event)

    def opens(self, path: str, authorization: str) -> bool:
        """Does this login open this path?"""
        if not path.startswith(self.guarded):
            return True
        user, _, password = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        return self.accounts.get(user) == password or self.allows(path, user, password)


@contextmanager
def git_server(root: Path, *, tls: ssl.SSLContext | None = None) -> Iterator[GitServer]:
    """Serve a folder of repositories; ``/private`` holds the same ones, and wants a sign-in.

    ``/slow`` never answers, ``/moved`` redirects to :attr:`GitServer.elsewhere`.
    """
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Backend)
    http.daemon_threads = True
    if tls:
        http.socket = tls.wrap_socket(http.socket, server_side=True)
    address = f"{'https' if tls else 'http'}://127.0.0.1:{http.server_port}"
    http.served = server = GitServer(address, root)  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.hold.set()
        http.shutdown()
        http.server_close()


class _Backend(BaseHTTPRequestHandler):
    def answer(self) -> None:
        served: GitServer = self.server.served  # type: ignore[attr-defined]
        path, _, query = self.path.partition("?")
        login = self.headers.get("Authorization", "")
        served.asked.append((path, login))
        if path.startswith("/slow"):
            served.hold.wait(30)
            return
        if path.startswith("/moved"):
            self._say(302, {"Location": served.elsewhere + self.path.removeprefix("/moved")})
            return
        if not served.opens(path, login):
            self._say(401, {"WWW-Authenticate": 'Basic realm="git"'})
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            env=self._environment(served.root, path.removeprefix("/private"), query),
            capture_output=True,
            check=False,
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        status = int(headers.pop("Status", "200 OK").split()[0])
        self._say(status, headers, content)

    def _say(self, status: int, headers: dict[str, str], content: bytes = b"") -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _environment(self, root: Path, path: str, query: str) -> dict[str, str]:
        settings = {"safe.directory": "*", "uploadpack.allowAnySHA1InWant": "true"}
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": str(len(settings)),
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        for index, (name, value) in enumerate(settings.items()):
            environment |= {f"GIT_CONFIG_KEY_{index}": name, f"GIT_CONFIG_VALUE_{index}": value}
        return environment

    do_GET = do_POST = answer

    def log_message(self, format: str, *arguments: Any) -> None:
        return None
