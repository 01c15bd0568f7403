"""The embedded profile: one machine, SQLite, local sign-in, workspaces as local processes.

`a360 up` uses it; `jupyterhub -f` on this file works too. A Hub of your own needs only the last call.
"""

import logging
import os
import sys

from traitlets.config import get_config

from hub_config import install_a360
from hub_config.authenticator import LocalIdentityAuthenticator
from hub_config.die_with_parent import tied
from hub_config.embedded import Embedded
from hub_config.proxy import EmbeddedTraefikProxy
from hub_config.spawner import LocalWorkspaceSpawner

c = get_config()
platform = Embedded.from_environment()
password = platform.prepare()
if password is not None:
    logging.getLogger("a360").warning(
        "First run: run `a360 reset-password` to get a password to sign in with"
    )
ports = platform.ports() if os.environ.get("A360_PORTS_CHOSEN") else platform.choose_ports()

c.JupyterHub.bind_url = f"http://{platform.ip}:{platform.port}"
c.JupyterHub.hub_ip = "127.0.0.1"
c.JupyterHub.hub_port = ports["hub"]
c.JupyterHub.db_url = f"sqlite:///{platform.hub / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(platform.hub / "cookie_secret")
c.JupyterHub.load_groups = platform.groups_to_load()
c.JupyterHub.template_vars = {"product": "A360"}
# Answer a start after one second and show progress, instead of holding the request.
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 1, "slow_stop_timeout": 1}

c.JupyterHub.proxy_class = EmbeddedTraefikProxy
c.TraefikProxy.traefik_api_url = f"http://127.0.0.1:{ports['proxy_api']}"
c.TraefikProxy.traefik_api_username = "a360"
c.TraefikProxy.traefik_api_password = platform.secret("proxy.token")
c.TraefikProxy.static_config_file = str(platform.hub / "traefik.toml")
# What is being answered when the platform stops gets a second to end; idle connections would take ten.
_SOON = {"transport": {"lifeCycle": {"graceTimeOut": "1s"}}}
c.TraefikProxy.extra_static_config = {"entryPoints": dict.fromkeys(("http", "auth_api"), _SOON)}
c.TraefikFileProviderProxy.dynamic_config_file = str(platform.hub / "traefik-rules.toml")

# admin is an administrator of A360, not of the Hub: the Hub's own admin page would go around our permissions.
c.JupyterHub.authenticator_class = LocalIdentityAuthenticator
c.LocalIdentityAuthenticator.accounts_file = str(platform.accounts.path)
c.Authenticator.allowed_users = set(platform.accounts.names())

c.LocalWorkspaceSpawner.state_folder = str(platform.home)
c.LocalWorkspaceSpawner.images_folder = str(platform.images)
c.LocalWorkspaceSpawner.options_key_file = str(platform.options_key)
c.LocalProcessSpawner.interrupt_timeout = 8
c.LocalProcessSpawner.term_timeout = 4

install_a360(
    c,
    public_url=platform.url,
    options_key_file=platform.options_key,
    service_url=f"http://127.0.0.1:{ports['service']}",
    api_token=platform.secret("service.token"),
    command=tied(sys.executable, "-m", "a360_hub_service"),
    environment=platform.service_environment(),
    spawner_class=LocalWorkspaceSpawner,
)
