"""``install_a360`` in somebody else's Hub: another sign-in, another proxy set-up, another base path."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet

from tests.support.hub import IMAGES, ROOT, SignedIn
from tests.support.kernel import Kernel
from tests.support.service import free_port, project_form, wait_for

CONFIG = """
from pathlib import Path
from hub_config import install_a360
from hub_config.spawner import LocalWorkspaceSpawner

home = Path({home!r})
c.JupyterHub.bind_url = "http://127.0.0.1:{port}/jupyter/"
c.JupyterHub.hub_port = {hub}
c.JupyterHub.db_url = "sqlite://"
c.JupyterHub.cookie_secret_file = str(home / "cookie_secret")
c.JupyterHub.authenticator_class = "dummy"
c.JupyterHub.load_groups = {{"Data Scientists": {{"users": ["ann"]}}}}
c.DummyAuthenticator.password = "theirs"
c.Authenticator.allow_all = True
c.JupyterHub.proxy_class = "traefik_file"
c.TraefikProxy.traefik_api_url = "http://127.0.0.1:{api}"
c.TraefikProxy.static_config_file = str(home / "traefik.toml")
c.TraefikFileProviderProxy.dynamic_config_file = str(home / "rules.toml")
c.JupyterHub.services = [{{"name": "theirs", "api_token": "their-own-token"}}]
c.LocalWorkspaceSpawner.state_folder = str(home)
c.LocalWorkspaceSpawner.images_folder = {images!r}
c.LocalWorkspaceSpawner.options_key_file = str(home / "options.key")
install_a360(
    c,
    public_url="http://127.0.0.1:{port}/jupyter",
    options_key_file=home / "options.key",
    service_url="http://127.0.0.1:{service}",
    command=[{python!r}, "-m", "a360_hub_service"],
    environment={{"A360_HOME": str(home)}},
    spawner_class=LocalWorkspaceSpawner,
)
"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "secret.keys").write_text(Fernet.generate_key().decode())
    (tmp_path / "options.key").write_text("a key of the operator's own")
    port = free_port()
    values = {"home": str(tmp_path), "images": str(IMAGES), "python": sys.executable, "port": port}
    ports = {name: free_port() for name in ("hub", "api", "service")}
    (tmp_path / "jupyterhub_config.py").write_text(CONFIG.format(**values, **ports))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "A360_HOME": str(tmp_path), "PATH": path}
    subprocess.run([sys.executable, "-m", "a360_hub_service", "upgrade"], env=env, cwd=ROOT, check=True)
    with (tmp_path / "hub.log").open("wb") as log:
        hub = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", str(tmp_path / "jupyterhub_config.py")],
            env=env, cwd=tmp_path, stdout=log, stderr=log,
            # A suite started in the background of a script ignores SIGINT, and so would the Hub's services.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
    health = f"http://127.0.0.1:{port}/jupyter/services/a360/health"
    try:
        wait_for(lambda: hub.poll() is not None or httpx.get(health).status_code == 200, seconds=90)
        assert hub.poll() is None, (tmp_path / "hub.log").read_text()[-4000:]
        yield f"http://127.0.0.1:{port}"
    finally:
        hub.terminate()
        hub.wait(60)


@pytest.mark.xdist_group("hub")
def test_a_hub_of_ones_own_gets_projects_and_workspaces(url: str) -> None:
    with SignedIn(url, "ann", "theirs", base="/jupyter") as browser:
        assert browser.get("/jupyter/").url.path == "/jupyter/services/a360/"
        assert browser.api("GET", "/me").json()["roles"] == ["data_scientist"]
        project = browser.api("POST", "/projects", json=project_form("Elsewhere", "elsewhere")).json()
        form = {"name": "mine", "image": "sklearn", "cpu": 1, "memory": "2Gi"}
        made = browser.api("POST", f"/projects/{project['id']}/workspaces", json=form).json()
        path = f"/workspaces/{made['id']}"
        assert browser.api("POST", f"{path}/start").status_code == 202
        running = wait_for(
            lambda: (found := browser.api("GET", path).json())["status"] == "running" and found, seconds=120
        )
        assert running["url"] == "/jupyter/user/ann/mine/"
        with Kernel(url + running["url"], browser.make_token()) as kernel:
            assert "for project: Elsewhere>" in kernel.run("a360ai")
            assert "'ann'" in kernel.run(
                "import os, requests\n"
                "head = {'Authorization': 'token ' + os.environ['JUPYTERHUB_API_TOKEN']}\n"
                "requests.get(os.environ['A360_API_URL'] + '/me', headers=head).json()['name']"
            )
        assert browser.page_call("POST", "/hub/api/users/ann/servers/x", json={}).status_code == 403
    token = {"Authorization": "token their-own-token"}
    theirs = httpx.get(f"{url}/jupyter/hub/api/user", headers=token).json()
    assert (theirs["kind"], theirs["name"]) == ("service", "theirs")
