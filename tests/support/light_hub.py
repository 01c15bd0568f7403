"""A real Hub that runs the real service, and whose workspaces are processes of a few megabytes.

Identities, groups, scopes, starts and stops are the Hub's own; only JupyterLab itself is not there.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import httpx

from tests.support import loop_reports
from tests.support.service import ROOT, ServiceProcess, free_port, wait_for

CONFIG = """
from pathlib import Path
from hub_config import install_a360
from hub_config.die_with_parent import tied

c.JupyterHub.bind_url = "http://127.0.0.1:{public}"
c.JupyterHub.hub_port = {hub}
c.JupyterHub.db_url = "sqlite://"
c.JupyterHub.cookie_secret_file = {home!r} + "/cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "unused"
c.Authenticator.allow_all = True
c.JupyterHub.load_groups = {groups!r}
c.JupyterHub.api_tokens = {tokens!r}
c.JupyterHub.proxy_class = "traefik_file"
c.TraefikProxy.traefik_api_url = "http://127.0.0.1:{api}"
c.TraefikProxy.static_config_file = {home!r} + "/traefik.toml"
c.TraefikFileProviderProxy.dynamic_config_file = {home!r} + "/rules.toml"
c.JupyterHub.named_server_limit_per_user = {most}
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 1, "slow_stop_timeout": 1}}
c.Spawner.cmd = [{python!r}, "-S", {workspace!r}]
c.LocalProcessSpawner.interrupt_timeout = 1
c.SimpleLocalProcessSpawner.home_dir_template = {home!r} + "/homes/{{username}}"
install_a360(
    c,
    public_url="http://127.0.0.1:{public}",
    options_key_file=Path({home!r}) / "options.key",
    service_url="http://127.0.0.1:{service}",
    command=tied({python!r}, "-m", "a360_hub_service"),
    environment={environment!r},
    spawner_class="simple",
    idle_culler=False,
)
"""
MOST_WORKSPACES = 4
"""Of each user at the same time; what bounds the processes that a fuzzer starts."""


class LightHub(ServiceProcess):
    """The service behind a Hub of its own.

    ``log`` is what Hub and service wrote; the service answers directly and through the Hub's proxy.
    """

    def __init__(self, home: Path, **options: Any) -> None:
        super().__init__(home, **options)
        self.log = home / "hub.log"

    def start(self) -> Self:
        """Start the Hub, which starts the service, and wait until it is ready."""
        (self.home / "options.key").write_text("a key of this test's own")
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        config = self.home / "jupyterhub_config.py"
        config.write_text("c = get_config()\n" + self._configuration(path))
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "-f", str(config)],
                env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
                cwd=self.home,
                stdout=out,
                stderr=out,
                # A suite started in the background of a script ignores SIGINT, and so would what this starts.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        try:
            wait_for(self._ready, seconds=90, message="the Hub and its service did not get ready")
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}\n{self.log.read_text()[-4000:]}") from None
        return self

    def _ready(self) -> bool:
        # The Hub starts its services before it is done itself.
        return super()._ready() and httpx.get(f"{self.hub_url}/health").status_code == 200

    def _configuration(self, path: str) -> str:
        people: dict[str, list[str]] = self.people()
        groups: dict[str, dict[str, list[str]]] = {}
        for name, members_of in people.items():
            for group in members_of:
                groups.setdefault(group, {"users": []})["users"].append(name)
        ports = {name: free_port() for name in ("public", "hub", "api")}
        self.hub_url = f"http://127.0.0.1:{ports['public']}/hub"
        return CONFIG.format(
            home=str(self.home),
            groups=groups,
            # The Hub takes no shorter ones; those whose names are too short never call.
            tokens={token: name for name in people if len(token := f"test-{name}") >= 8},
            python=sys.executable,
            workspace=str(Path(__file__).with_name("tiny_workspace.py")),
            environment={
                "A360_HOME": str(self.home),
                "A360_SERVICE_CONFIG": str(self.config),
                "PYTHONPATH": str(ROOT),
                "PATH": path,
            },
            service=self.port,
            most=MOST_WORKSPACES,
            **ports,
        )

    def stop(self) -> None:
        """SIGTERM: the Hub stops workspaces, service and proxy before it ends."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"the Hub did not stop\n{self.log.read_text()[-4000:]}") from None
        loop_reports.collect(self.log)
