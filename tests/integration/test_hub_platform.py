"""``a360 up`` and ``a360 down`` as a person at a terminal meets them."""

import contextlib
import signal
import socket
import stat
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.hub import Platform, SignedIn, platform, printed_password
from tests.support.kernel import Kernel
from tests.support.service import free_port, project_form, wait_for

pytestmark = pytest.mark.xdist_group("hub")


@pytest.fixture(scope="module")
def running(hub_platform: Platform) -> Platform:
    return hub_platform


def test_first_run_prints_one_password_and_keeps_no_copy(running: Platform) -> None:
    printed = running.log.read_text()
    assert printed_password(printed) == running.password
    assert printed.count(running.password) == 1
    for path in running.home.rglob("*"):
        if path.is_file():
            assert running.password.encode() not in path.read_bytes(), path
    assert stat.S_IMODE((running.home / "hub" / "accounts.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((running.home / "hub").stat().st_mode) == 0o700


@pytest.mark.row("F004", "F007")
@pytest.mark.parametrize(
    ("user", "roles"),
    [
        ("admin", ["client_admin"]),
        ("scientist", ["data_scientist"]),
        ("reviewer", ["data_scientist"]),
        ("engineer", ["ml_engineer"]),
    ],
)
def test_each_demo_account_signs_in_with_its_roles(running: Platform, user: str, roles: list[str]) -> None:
    with running.sign_in(user) as browser:
        assert browser.get("/").url.path == "/services/a360/"
        me = browser.api("GET", "/me").json()
        assert (me["name"], me["roles"]) == (user, roles)
        hub = browser.page_call("GET", f"/hub/api/users/{user}").json()
        assert not hub["admin"]
        assert browser.get("/hub/admin").status_code == 403


@pytest.mark.row("F004")
@pytest.mark.parametrize(
    ("user", "password"), [("scientist", "wrong"), ("root", None), ("stranger", None), ("", "")]
)
def test_nobody_else_signs_in(running: Platform, user: str, password: str | None) -> None:
    with pytest.raises(AssertionError, match="403"):
        SignedIn(running.url, user, running.password if password is None else password)


def test_sign_in_page_names_the_product(running: Platform) -> None:
    page = httpx.get(f"{running.url}/hub/login")
    assert "<h1>A360</h1>" in page.text
    assert "A360" in page.text[: page.text.index("</title>")]


def test_the_hubs_home_offers_nothing_that_would_be_refused(running: Platform) -> None:
    with running.sign_in("engineer") as browser:
        home = browser.get("/hub/home").text
    assert "None of your workspaces is running." in home
    assert 'href="/services/a360/"' in home
    for refused in ("Add New Server", "My Server", "/hub/spawn/"):
        assert refused not in home


def test_changing_calls_of_a_browser_need_the_pages_token(running: Platform) -> None:
    with running.sign_in("scientist") as browser:
        body = project_form("Forged", "forged-data")
        assert browser.post("/services/a360/api/v1/projects", json=body).status_code in (401, 403)
        assert browser.api("POST", "/projects", json=body).status_code == 201


def test_a_second_up_says_where_the_first_is(running: Platform) -> None:
    done = running.run("up", "--port", str(running.port))
    assert done.returncode == 2
    assert f"already running at {running.url}" in done.stderr
    assert "a360 down" in done.stderr
    assert running.run("status").stdout.startswith(f"A360 runs at {running.url}")


def test_a_port_in_use_is_named_with_another_to_take(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        here = Platform(tmp_path / "home")
        done = here.run("up", "--port", str(port))
    assert done.returncode == 2
    assert f"Port {port}" in done.stderr
    assert "a360 up --port" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (here.home / "hub").exists()
    assert here.run("up", "--port", "99999").returncode == 2


def test_a_taken_port_of_the_endpoints_is_said_before_anything_starts(tmp_path: Path) -> None:
    here = Platform(tmp_path / "home")
    assert here.run("upgrade").returncode == 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = here.home / "service" / "a360_service_config.py"
        config.write_text(f"c = get_config()\nc.Gateway.port = {port}\n")
        done = here.run("up", "--port", str(free_port()))
    assert done.returncode == 2
    assert f"Port {port} is taken" in done.stderr
    assert str(config) in done.stderr


def test_down_and_status_without_a_platform(tmp_path: Path) -> None:
    here = Platform(tmp_path / "home")
    assert here.run("status").returncode == 1
    done = here.run("down")
    assert (done.returncode, done.stdout) == (0, "A360 is not running.\n")
    assert here.run("upgrade").returncode == 0
    assert here.run("upgrade").returncode == 0


def test_a_new_password_holds_at_once(running: Platform) -> None:
    old = running.password
    running.password = printed_password(running.run("reset-password").stdout) or ""
    assert running.password != old
    running.sign_in("engineer").close()
    with pytest.raises(AssertionError, match="403"):
        SignedIn(running.url, "engineer", old)


@pytest.mark.long
def test_a_signal_stops_everything_and_nothing_is_lost(tmp_path: Path) -> None:
    with platform(tmp_path / "home") as here:
        with here.client("scientist") as client:
            made = client.post("/projects", json=project_form("Stop", "stop-data")).json()
        here.start_workspace("scientist", made["id"], "stops too")
        browser = here.sign_in("engineer")
        assert len(here.processes()) >= 3  # Hub, proxy, service
        with hub_api(here) as hub:
            url = "/groups/Data Scientists/users"
            assert hub.request("DELETE", url, json={"users": ["reviewer"]}).status_code == 200
        assert here.stop(signal.SIGINT, seconds=30) == 0
        wait_for(lambda: not here.processes(), seconds=5, message=f"left over: {here.processes()}")
        assert not workspace_processes(here)

        here.start()
        with here.client("scientist") as client:
            assert [p["name"] for p in client.get("/projects").json()["items"]] == ["Stop"]
        with browser:  # sessions of browsers go on
            assert browser.api("GET", "/me").json()["name"] == "engineer"
        with hub_api(here) as hub:  # the console owns groups: the first ones are not loaded again
            assert hub.get("/groups/Data Scientists").json()["users"] == ["scientist"]

        done = here.run("down")
        assert done.returncode == 0, done.stderr
        assert "A360 is stopped" in done.stdout
        assert here.process
        assert here.process.wait(5) == 0
        assert here.run("status").returncode == 1


def hub_api(here: Platform) -> httpx.Client:
    """The Hub's REST API with the service's token."""
    token = (here.home / "hub" / "service.token").read_text().strip()
    return httpx.Client(base_url=f"{here.url}/hub/api", headers={"Authorization": f"token {token}"})


def workspace_processes(here: Platform) -> list[psutil.Process]:
    """Live processes whose home is a workspace of this platform."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HOME", "").startswith(str(here.home / "workspaces")):
                found.append(process)
    return found


@pytest.mark.long
def test_signals_are_heard_in_the_background_of_a_script_and_a_killed_up_leaves_nothing(
    tmp_path: Path,
) -> None:
    """Shells start ``command &`` in scripts with SIGINT ignored, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with platform(tmp_path / "home") as here:
            assert here.stop(signal.SIGINT, seconds=30) == 0
            here.start()
            assert here.process
            here.process.kill()
            here.process.wait()
            wait_for(lambda: not here.processes(), seconds=30, message="the Hub outlived `a360 up`")
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.long
def test_a_killed_hub_starts_again_and_finds_its_workspaces(tmp_path: Path) -> None:
    with platform(tmp_path / "home") as here:
        with here.client("scientist") as client:
            made = client.post("/projects", json=project_form("Kill", "kill-data")).json()
        workspace = here.start_workspace("scientist", made["id"], "survivor")
        here.kill_hub()
        assert "start again with: a360 up" in here.log.read_text()
        assert workspace_processes(here)
        here.start()  # on the same port: service and proxy of the killed Hub are gone
        with here.client("scientist") as client:
            found = client.get(f"/workspaces/{workspace['id']}").json()
            assert found["status"] == "running"
            assert found["limits"]["memory_applied"] is True
            with Kernel(here.url + found["url"], here.token("scientist")) as kernel:
                assert kernel.run("print(a360ai.project_name)").strip() == "Kill"
            assert client.post(f"/workspaces/{workspace['id']}/stop").status_code == 202
            here.wait_workspace("scientist", workspace["id"], "stopped")
