"""Repositories that a GitHub App opens: its API, and git's own server that wants the tokens it gives."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from a360_hub_service.backends.git import GitError, GitSource
from a360_hub_service.backends.git.app import GitHubApp, app_login, check_app, check_private_key
from a360_hub_service.backends.hosts import ANY, Hosts
from tests.support.git_server import GitServer, git_server, serve_code
from tests.support.github_server import APP_ID, GitHubServer, github_server, private_key_text

HERE = Hosts(("127.0.0.1",))


@pytest.fixture(scope="module")
def github() -> Iterator[GitHubServer]:
    with github_server() as running:
        running.installed.add("acme/churn")
        yield running


@pytest.fixture(scope="module")
def server(github: GitHubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    """Git's side of it: ``/acme/churn.git`` and ``/acme/other.git``."""
    served = serve_code(tmp_path_factory.mktemp("git"))
    for name in ("churn", "other"):
        shutil.copytree(served / "code.git", served / "acme" / f"{name}.git")
    with git_server(served) as running:
        running.guarded = ("/acme",)
        running.allows = github.opens
        yield running


def app(github: GitHubServer, server: str = "https://github.com", **changes: Any) -> GitHubApp:
    given = {"server": server, "app_id": APP_ID, "private_key": private_key_text(github.key)}
    return GitHubApp(**(given | {"api_url": github.url} | changes))


@pytest.mark.row("F149", "F150", "F151")
def test_a_token_reads_the_one_repository_and_is_kept(
    github: GitHubServer, server: GitServer, tmp_path: Path
) -> None:
    source = GitSource(allow_http_urls=True, allowed_hosts=list(HERE.entries))
    url = f"{server.url}/acme/churn.git"
    github.asked.clear()
    login = app_login(app(github, server.url), url, HERE)
    assert login is not None
    assert source.fetch(url, "", tmp_path / "a", print, login).ref == "refs/heads/main"
    (made,) = [each for each in github.asked if each[0] == "POST"]
    assert made[2] == {"repositories": ["churn"], "permissions": {"contents": "read"}}
    again = app_login(app(github, server.url), f"{server.url}/Acme/churn.git", HERE)
    assert again == login
    assert len(github.asked) == 2
    with pytest.raises(GitError, match="does not accept the credential"):
        source.fetch(f"{server.url}/acme/other.git", "", tmp_path / "b", print, login)


def test_a_token_about_to_expire_is_replaced(github: GitHubServer) -> None:
    github.lifetime = timedelta(minutes=4)
    try:
        github.installed.add("acme/brief")
        tokens = {app_login(app(github), "https://github.com/acme/brief.git", HERE) for _ in range(2)}
        assert len(tokens) == 2
    finally:
        github.lifetime = timedelta(hours=1)


def test_a_repository_without_the_app(github: GitHubServer) -> None:
    assert app_login(app(github), "https://github.com/acme/unknown.git", HERE) is None
    with pytest.raises(GitError, match="is no repository of GitHub"):
        app_login(app(github), "https://github.com/acme/a/b.git", HERE)


@pytest.mark.row("F149")
def test_what_is_wrong_with_an_app_is_said(github: GitHubServer) -> None:
    assert check_app(app(github), HERE) == ("The GitHub App “Scripts of the company” is installed for acme.")
    other = private_key_text(generate_private_key(65537, 2048))
    github.installed.add("acme/fresh")
    assert said(app(github, private_key=other)) == (
        f"GitHub does not accept the private key for the App {APP_ID}. "
        "(A JSON web token could not be decoded)"
    )
    github.permissions = {"metadata": "read"}
    assert said(app(github)) == (
        "The GitHub App “Scripts of the company” may not read the contents of repositories."
    )
    with pytest.raises(GitError, match="may not read this repository") as caught:
        app_login(app(github), "https://github.com/acme/fresh.git", HERE)
    assert "Contents: Read-only" in caught.value.hint
    github.permissions = {"contents": "read"}
    github.suspended = True
    with pytest.raises(GitError, match="installation of the GitHub App for acme is suspended"):
        app_login(app(github), "https://github.com/acme/fresh.git", HERE)
    github.suspended = False
    installed, github.installed = github.installed, set()
    assert said(app(github)) == "The GitHub App “Scripts of the company” is not installed anywhere."
    github.installed = installed
    away = app(github, api_url="http://127.0.0.1:9")
    assert said(away).startswith("GitHub's API at http://127.0.0.1:9 cannot be reached:")
    assert "127.0.0.1 is not a public address" in said(app(github), Hosts((ANY,)))
    assert "127.0.0.1 is not a host that the operator allows" in said(app(github), Hosts(("example.org",)))


def said(wrong: GitHubApp, hosts: Hosts = HERE) -> str:
    with pytest.raises(GitError) as caught:
        check_app(wrong, hosts)
    assert caught.value.hint
    assert "PRIVATE KEY" not in caught.value.message + repr(wrong)
    return caught.value.message


def test_addresses_of_the_api() -> None:
    assert GitHubApp("https://github.com", "1", "").api == "https://api.github.com"
    assert GitHubApp("https://git.example.org", "1", "").api == "https://git.example.org/api/v3"
    assert GitHubApp("https://a.ghe.com", "1", "", "https://api.a.ghe.com/").api == "https://api.a.ghe.com"


@pytest.mark.parametrize(
    "text", ["", "-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----", "x" * 5000]
)
def test_what_is_no_private_key(text: str) -> None:
    with pytest.raises(ValueError, match="is no private key in PEM format"):
        check_private_key(text)
