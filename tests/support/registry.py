"""A real registry of images: Debian's docker-registry on a port of its own, with users and passwords."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from a360_hub_service.backends.images import BuiltPackage
from a360_hub_service.backends.registries import Registry
from tests.support.endpoints import eventually, free_port

USER, PASSWORD = "builder", "s3cret-of-the-registry"


@dataclass
class RegistryServer:
    """A registry that runs, and what it holds in `folder`."""

    address: str
    folder: Path
    process: subprocess.Popen[bytes]
    user: str = USER
    password: str = PASSWORD

    @property
    def url(self) -> str:
        """Its address for HTTP."""
        return f"http://{self.address}"

    def configured(self, **changes: Any) -> Registry:
        """Return the platform's side of it, with the right password unless another is given."""
        settings = {"url": self.url, "username": self.user, "password": self.password, "prefix": "models"}
        return Registry(**(settings | changes))

    def http(self) -> httpx.Client:
        """Return a client that sees the registry as it is."""
        return httpx.Client(base_url=self.url, auth=(self.user, self.password))

    def layers(self, package: BuiltPackage) -> list[str]:
        """Return the digests of the layers of an image, the lowest first."""
        return [layer["digest"] for layer in self._manifest(package)["layers"]]

    def config(self, package: BuiltPackage) -> dict[str, Any]:
        """Return the configuration of an image."""
        repository = package.reference.partition("/")[2].rpartition(":")[0]
        digest = self._manifest(package)["config"]["digest"]
        with self.http() as client:
            return dict(client.get(f"/v2/{repository}/blobs/{digest}").json())

    def _manifest(self, package: BuiltPackage) -> dict[str, Any]:
        repository, _, tag = package.reference.partition("/")[2].rpartition(":")
        accepted = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
        with self.http() as client:
            answer = client.get(f"/v2/{repository}/manifests/{tag}", headers=accepted)
        assert answer.headers["Docker-Content-Digest"] == package.digest
        return dict(answer.json())


@contextmanager
def registry_server(
    folder: Path,
    *,
    storage: Path | None = None,
    auth: dict[str, Any] | None = None,
    user: str = USER,
    password: str = PASSWORD,
) -> Iterator[RegistryServer]:
    """Run a registry in `folder` for the block, with `auth` in place of users. Skips where there is none."""
    programs = [shutil.which(name) for name in ("docker-registry", "htpasswd")]
    if not all(programs):
        pytest.skip("no docker-registry with htpasswd (apt-get install docker-registry apache2-utils)")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["htpasswd", "-Bbc", folder / "users", user, password], check=True, capture_output=True)
    address = f"127.0.0.1:{free_port()}"
    config = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(storage or folder / "store")},
            "delete": {"enabled": True},
        },
        "auth": auth or {"htpasswd": {"realm": "tests", "path": str(folder / "users")}},
        "http": {"addr": address},
    }
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log
        )
    server = RegistryServer(address, folder, process, user, password)
    try:
        eventually(lambda: process.poll() is not None or _answers(server.url), 20)
        assert process.poll() is None, (folder / "log").read_text()
        yield server
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v2/", timeout=2).status_code == 401
    except httpx.HTTPError:
        return False
