"""The embedded platform of one machine: folders, secrets, ports and accounts."""

import contextlib
import json
import os
import socket
import sqlite3
import sys
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.fernet import Fernet

from .accounts import ACCOUNTS, Accounts, secret_file, write_secret

_PASSED_PREFIXES = ("A360_", "AWS_", "DOCKER_", "GIT_", "PIP_", "UV_")
_PASSED_NAMES = {
    "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "KUBECONFIG", "XDG_CACHE_HOME",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
}  # fmt: skip
_INTERNAL = ("hub", "service", "proxy_api")

_GATEWAY_PORT = 8010
_SERVICE_CONFIG = """\
# Settings of the A360 service on this machine; read when it starts. Yours to change.
c = get_config()  # noqa: F821

# Models may be packaged from git repositories in folders (file:///...git), read with the platform's rights.
c.GitSource.allow_file_urls = True

# Calls to published endpoints come in here. It holds for as long as callers know the address.
c.Gateway.port = {port}
"""


@dataclass(frozen=True)
class Embedded:
    """Where everything of one embedded platform is.

    Attributes
    ----------
    home
        The state folder (``A360_HOME``).
    ip, port
        Where browsers come in.
    """

    home: Path
    ip: str = "127.0.0.1"
    port: int = 8000
    hub: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", self.home.absolute())
        object.__setattr__(self, "hub", self.home / "hub")

    @classmethod
    def from_environment(cls) -> "Embedded":
        """The platform that ``A360_HOME``, ``A360_IP`` and ``A360_PORT`` describe."""
        return cls(
            Path(os.environ.get("A360_HOME") or ".a360"),
            os.environ.get("A360_IP") or "127.0.0.1",
            int(os.environ.get("A360_PORT") or 8000),
        )

    @property
    def url(self) -> str:
        """Address of the platform as seen from this machine."""
        host = "127.0.0.1" if self.ip in ("", "0.0.0.0", "::") else self.ip  # noqa: S104
        return f"http://{host}:{self.port}"

    @property
    def accounts(self) -> Accounts:
        """Sign-in accounts."""
        return Accounts(self.hub / "accounts.json")

    @property
    def options_key(self) -> Path:
        """File of the key that signs workspace options."""
        return self.hub / "workspace-options.key"

    @property
    def service_config(self) -> Path:
        """The operator's traits for the service; a first run writes this machine's choices."""
        return self.home / "service" / "a360_service_config.py"

    @property
    def images(self) -> Path:
        """Folder of local images; ``A360_IMAGES`` lets several platforms share one."""
        return Path(os.environ.get("A360_IMAGES") or self.home / "images")

    def prepare(self) -> str | None:
        """Make folders and secrets that are missing.

        Returns
        -------
        str or None
            The first-run password when it was made now: the only time it can be seen.
        """
        self.prepare_folders()
        for name in ("cookie_secret", "service.token", "proxy.token", "workspace-options.key"):
            secret_file(self.hub / name)
        keys = self.home / "service" / "secret.keys"
        if not keys.exists():
            write_secret(keys, Fernet.generate_key().decode() + "\n")
        if not self.service_config.exists():
            self.service_config.write_text(_SERVICE_CONFIG.format(port=_free_port(_GATEWAY_PORT)))
        return None if (self.hub / "accounts.json").exists() else self.accounts.reset()

    def prepare_folders(self) -> None:
        """Make the folders that are missing, closed to other users of the machine."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in ("hub", "service", "volumes", "workspaces", "log"):
            (self.home / folder).mkdir(exist_ok=True, mode=0o700)

    def secret(self, name: str) -> str:
        """One of the secrets :meth:`prepare` made."""
        return secret_file(self.hub / name)

    def choose_ports(self) -> dict[str, int]:
        """Ports inside the machine: the ones of last time where free.

        Workspaces that outlived a killed Hub know its port, so it must not move without need.
        """
        before = self.ports() if (self.hub / "ports.json").exists() else {}
        ports: dict[str, int] = {}
        with contextlib.ExitStack() as held:
            for name in _INTERNAL:
                wanted = before.get(name, 0)
                listener = socket.socket()
                held.callback(listener.close)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    listener.bind(("127.0.0.1", wanted))
                except OSError:
                    listener.bind(("127.0.0.1", 0))
                ports[name] = listener.getsockname()[1]
        (self.hub / "ports.json").write_text(json.dumps(ports))
        return ports

    def ports(self) -> dict[str, int]:
        """What :meth:`choose_ports` chose."""
        ports: dict[str, int] = json.loads((self.hub / "ports.json").read_text())
        return ports

    def groups_to_load(self) -> dict[str, dict[str, list[str]]]:
        """Starting groups, once: afterwards the console owns groups and a removed member stays removed."""
        database = self.hub / "jupyterhub.sqlite"
        if database.exists() and _has_groups(database):
            return {}
        groups: dict[str, dict[str, list[str]]] = {}
        for name, group in ACCOUNTS.items():
            groups.setdefault(group, {"users": []})["users"].append(name)
        return groups

    def service_environment(self) -> dict[str, str]:
        """Environment of the service: the machine's own settings and where this platform keeps its things."""
        passed = {
            name: value
            for name, value in os.environ.items()
            if name in _PASSED_NAMES or name.startswith(_PASSED_PREFIXES)
        }
        return {
            **passed,
            "A360_HOME": str(self.home),
            "A360_SERVICE_CONFIG": str(self.service_config),
            "A360_IMAGES": str(self.images),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        }


def _has_groups(database: Path) -> bool:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        try:
            return bool(connection.execute("select count(*) from groups").fetchone()[0])
        except sqlite3.OperationalError:
            return False  # a first start that did not get as far as its tables


def _free_port(wanted: int) -> int:
    """This port, or the next one nobody listens on; when fifty are taken, publishing will say so."""
    for port in range(wanted, wanted + 50):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    return wanted
