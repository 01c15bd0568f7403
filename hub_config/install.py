"""Add A360 to a JupyterHub: everything beside the Hub's own database, proxy and sign-in."""

import sys
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tornado.web import HTTPError
from traitlets.config import Config
from traitlets.config.loader import LazyConfigValue

from spawner_profiles.catalogue import Catalogue, catalogue
from spawner_profiles.options import signing_key, verify
from spawner_profiles.translate import spawner_traits, workspace_environment

from .die_with_parent import tied

HERE = Path(__file__).parent
SERVICE = "a360"
CULLER = "a360-idle-culler"
PreSpawnHook = Callable[[Any], Awaitable[None] | None]

SERVICE_SCOPES = [
    "list:users",
    "read:users",  # names and groups: roles follow from groups
    "admin:groups",  # the console makes groups and edits membership
    "read:servers",
    "admin:server_state",  # reading it: which limits a workspace got
    "delete:servers",  # stop the workspaces of a deleted project; starting takes the user's own token
]
USER_TOKEN_SCOPES = [
    f"access:services!service={SERVICE}",
    "start:servers!user",
    "read:servers!user",
    "delete:servers!user",
]
SERVER_TOKEN_SCOPES = ["users:activity!user", "access:servers!server", f"access:services!service={SERVICE}"]
CULLER_SCOPES = ["list:users", "read:users:activity", "read:servers", "delete:servers"]


def install_a360(
    c: Config,
    *,
    public_url: str,
    options_key_file: Path,
    service_url: str = "http://127.0.0.1:10101",
    api_token: str = "",
    command: list[str] | None = None,
    environment: dict[str, str] | None = None,
    spawner_class: type | str | None = None,
    idle_culler: bool = True,
    workspaces_use_service_url: bool = False,
) -> None:
    """Add the A360 service, its scopes, workspaces, templates and the idle culler to a Hub's configuration.

    What is configured already stays: services, roles, template paths are added to, and a pre-spawn hook
    runs after ours. The authenticator, database and proxy are the operator's.

    Parameters
    ----------
    c : Config
        The configuration object of ``jupyterhub_config.py``.
    public_url : str
        Where browsers and workspaces find the Hub's proxy, for example ``https://hub.example.org``; with the
        Hub's base path when it has one.
    options_key_file : Path
        File of the key the service signs workspace options with (see spawner_profiles.options).
    service_url : str
        Where the service listens.
    api_token : str
        The service's token; empty lets the Hub make one, for a service the Hub starts itself. A service that
        runs elsewhere needs one.
    command : list of str, optional
        Starts the service. None: the service runs elsewhere and is registered only.
    environment : dict, optional
        Environment of a service started by the Hub.
    spawner_class : type or str, optional
        Spawner of workspaces; None keeps the one configured.
    idle_culler : bool
        Whether to stop idle workspaces (after one hour, or what their profile says).
    workspaces_use_service_url : bool
        Whether workspaces call the service at ``service_url`` and not through the proxy, for clusters whose
        workspaces do not reach the public address.

    Raises
    ------
    ValueError
        When a service that runs elsewhere is given no token.
    """
    if command is None and not api_token:
        raise ValueError("install_a360: a service the Hub does not start (no command) needs an api_token")
    service: dict[str, Any] = {
        "name": SERVICE,
        "url": service_url,
        "display": True,
        "oauth_no_confirm": True,  # part of the Hub, not a third party
        "oauth_client_allowed_scopes": USER_TOKEN_SCOPES,
        "timeout": 60,
    }
    if api_token:
        service["api_token"] = api_token
    if command is not None:
        passed = {"A360_OPTIONS_KEY_FILE": str(options_key_file), **(environment or {})}
        service |= {"command": command, "environment": passed}
    base = urlsplit(public_url).path.rstrip("/")
    _extend(c, "services", [service])
    _extend(c, "load_roles", [{"name": SERVICE, "services": [SERVICE], "scopes": SERVICE_SCOPES}])
    _update(c, "extra_user_scopes", {f"access:services!service={SERVICE}"})
    _extend(c, "template_paths", [str(HERE / "templates")])
    c.JupyterHub.allow_named_servers = True
    if "default_url" not in c.JupyterHub:
        c.JupyterHub.default_url = f"{base}/services/{SERVICE}/"
    called = f"{service_url.rstrip('/')}{base}" if workspaces_use_service_url else public_url.rstrip("/")
    api_url = f"{called}/services/{SERVICE}/api/v1"
    _install_workspaces(c, api_url, options_key_file, spawner_class)
    if idle_culler:
        _install_culler(c, catalogue())


def _install_workspaces(c: Config, api_url: str, key_file: Path, spawner_class: type | str | None) -> None:
    if spawner_class is not None:
        c.JupyterHub.spawner_class = spawner_class
    c.Spawner.pre_spawn_hook = workspace_hook(key_file, api_url, _take_hook(c))
    c.Spawner.server_token_scopes = SERVER_TOKEN_SCOPES
    # A first start builds the image.
    c.Spawner.start_timeout = 900
    c.Spawner.http_timeout = 120


def workspace_hook(key_file: Path, api_url: str, then: PreSpawnHook | None = None) -> PreSpawnHook:
    """A pre-spawn hook that refuses what the service did not ask for and sets up what it did.

    Raises (when called)
    --------------------
    tornado.web.HTTPError
        403 with a message for the person who pressed Start.
    """

    async def hook(spawner: Any) -> None:
        try:
            key = signing_key(key_file)
            options = verify(key, spawner.user.name, spawner.name, spawner.user_options or {})
            image = catalogue().image(options.image)
        except ValueError as refused:
            error = HTTPError(403, str(refused), reason="Start refused by A360")
            error.jupyterhub_message = str(refused)  # type: ignore[attr-defined]  # the Hub shows it
            raise error from None
        for trait, value in spawner_traits(options, image).items():
            if spawner.has_trait(trait):
                setattr(spawner, trait, value)
        spawner.environment = {
            **spawner.environment,
            **workspace_environment(options, api_url),
            "JUPYTERHUB_ACTIVITY_INTERVAL": str(max(1, min(300, options.idle_seconds // 4))),
        }
        spawner.a360_options = options
        if then is not None:
            done = then(spawner)
            if isawaitable(done):
                await done

    return hook


def _take_hook(c: Config) -> PreSpawnHook | None:
    """The operator's hook, which may be set for their spawner's class: there it would run instead of ours."""
    hook: PreSpawnHook | None = None
    for section in sorted((name for name in c if name.endswith("Spawner")), key="Spawner".__ne__):
        hook = c[section].pop("pre_spawn_hook", hook)
    return hook


def _install_culler(c: Config, profiles: Catalogue) -> None:
    shortest = min(int(profile.idle_hours * 3600) for profile in profiles.profiles)
    command = tied(
        *(sys.executable, "-m", "jupyterhub_idle_culler"),
        f"--config={HERE / 'culler_config.py'}",
        "--timeout=3600",
        f"--cull-every={max(1, min(60, shortest // 4))}",
        "--cull-named-servers=true",
    )
    _extend(c, "services", [{"name": CULLER, "command": command, "display": False}])
    _extend(c, "load_roles", [{"name": CULLER, "services": [CULLER], "scopes": CULLER_SCOPES}])


def _extend(c: Config, name: str, values: list[Any]) -> None:
    c.JupyterHub[name] = [*_present(c, name, []), *values]


def _update(c: Config, name: str, values: set[str]) -> None:
    c.JupyterHub[name] = {*_present(c, name, set()), *values}


def _present(c: Config, name: str, empty: Any) -> Any:
    """What the configuration holds so far; an operator may have used ``.extend`` or ``.update``, too."""
    present = c.JupyterHub[name]
    return present.get_value(empty) if isinstance(present, LazyConfigValue) else present
