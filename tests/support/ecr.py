"""AWS's registry of images: moto's imitation of its API, before a real registry that takes the passwords."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from tests.support.registry import RegistryServer, registry_server

REGION = "eu-west-1"
ACCOUNT = "123456789012"
_USER, _PASSWORD = "AWS", f"{ACCOUNT}-auth-token"
"""What moto makes of every access key."""


class Ecr:
    """An API at `api` and a registry behind it."""

    def __init__(self, api: str, server: RegistryServer) -> None:
        self.api, self.server = api, server

    @property
    def client(self) -> Any:
        """A client of the API, with rights of its own."""
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client("ecr", region_name=REGION, endpoint_url=self.api, **keys)

    def repositories(self) -> list[str]:
        """The names of the repositories that were made."""
        return sorted(each["repositoryName"] for each in self.client.describe_repositories()["repositories"])

    def inputs(self, **changes: Any) -> dict[str, Any]:
        """What a credential holds."""
        given = {"registry_url": self.server.url, "region": REGION, "endpoint_url": self.api}
        return given | {"access_key": "AKIATEST", "access_secret": "a-secret-of-aws"} | changes


@contextmanager
def ecr(folder: Path) -> Iterator[Ecr]:
    """Run both for the block."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        with registry_server(folder, user=_USER, password=_PASSWORD) as server:
            yield Ecr(f"http://{host}:{port}", server)
    finally:
        moto.stop()
