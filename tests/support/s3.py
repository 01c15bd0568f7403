"""S3 servers for tests: moto in this process, or a real one that the environment names."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

REGION = "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """An S3 server and one pair of keys for it."""

    url: str
    access_key: str
    secret_key: str

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a credential for it."""
        return {"region": REGION, "endpoint_url": self.url}

    @property
    def keys(self) -> dict[str, str]:
        """The keys of a credential for it."""
        return {"access_key": self.access_key, "access_secret": self.secret_key}

    def inputs(self, **more: Any) -> dict[str, Any]:
        """The inputs of the form of a credential."""
        return {**self.settings, **self.keys, **more}

    def client(self, region: str = REGION) -> Any:
        """A boto3 client of the test's own."""
        return boto3.session.Session().client(
            "s3",
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


@contextmanager
def moto_server() -> Iterator[S3Server]:
    """A server that speaks S3 and takes any key; for the logic, not for signatures."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3Server(f"http://{host}:{port}", "moto-access", "moto-secret")
    finally:
        server.stop()


def real_server() -> S3Server | None:
    """The server of ``A360_TEST_S3_ENDPOINT`` with ``A360_TEST_S3_ACCESS_KEY`` and ``…_SECRET_KEY``."""
    url = os.environ.get("A360_TEST_S3_ENDPOINT")
    if not url:
        return None
    return S3Server(url, os.environ["A360_TEST_S3_ACCESS_KEY"], os.environ["A360_TEST_S3_SECRET_KEY"])
