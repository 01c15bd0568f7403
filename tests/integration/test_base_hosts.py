"""Where base images that forms name may come from: nobody sends the service into the operator's network."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from a360_hub_service.backends.hosts import ANY, Hosts, is_public
from a360_hub_service.backends.images import BuildError
from a360_hub_service.backends.images.bases import registry_base
from a360_hub_service.backends.images.docker import DockerBuilder
from a360_hub_service.backends.images.oci import OciBuilder
from a360_hub_service.backends.registries import Registry


@pytest.mark.parametrize(
    ("name", "allowed", "said"),
    [
        (
            "registry.example.org/python:3.11",
            None,
            "registry.example.org is not a host that the operator allows",
        ),
        ("127.0.0.1:5000/python", None, "127.0.0.1 is not a host that the operator allows"),
        ("127.0.0.1:5000/python", [ANY], "127.0.0.1 is not a public address"),
        ("169.254.169.254/latest", [ANY], "169.254.169.254 is not a public address"),
        ("localhost/python", [ANY], "localhost ("),
        ("[::1]:5000/python", [ANY], "[::1] (::1) is not a public address"),
        ("127.0.0.1:5000/python", ["127.0.0.1:5001"], "127.0.0.1 is not a host that the operator allows"),
        ("evil.docker.io.example.org/python", None, "evil.docker.io.example.org is not a host"),
    ],
)
def test_hosts_that_a_form_may_not_name(
    tmp_path: Path, name: str, allowed: list[str] | None, said: str
) -> None:
    registry = Registry(**({"base_hosts": allowed} if allowed is not None else {}))
    with pytest.raises(BuildError) as caught:
        registry_base(registry, name, "linux/amd64", tmp_path, print, trusted=False)
    assert said in caught.value.message
    assert caught.value.field == "base_image"
    assert "c.Registry.base_hosts" in caught.value.hint


@pytest.mark.parametrize("kind", [OciBuilder, DockerBuilder])
def test_forms_are_told_before_a_job_begins(kind: type[OciBuilder] | type[DockerBuilder]) -> None:
    own = "intranet.example.org/python:3"
    builder = kind(base_image=own, registry=Registry(url="https://images.example.org"))
    for name in (own, "python:3.11", "ghcr.io/a/b@sha256:" + "0" * 64, "images.example.org/bases/python"):
        builder.check_base_image(name)
    for name in ("intranet.example.org/other", "registry.docker.io/python", "UPPER/python"):
        with pytest.raises(BuildError) as caught:
            builder.check_base_image(name)
        assert caught.value.field == "base_image"


@pytest.fixture
def redirecting() -> Iterator[tuple[int, list[str]]]:
    """A registry on this machine that sends readers to an address of the machine's own network."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if "/blobs/" in self.path:
                self.send_response(307)
                self.send_header("Location", f"http://127.0.0.2:{self.server.server_port}/secret")  # type: ignore[attr-defined]
                self.end_headers()
                return
            config = {"mediaType": "x", "digest": "sha256:" + "0" * 64, "size": 2}
            content = json.dumps({"schemaVersion": 2, "config": config, "layers": []}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            return None

    http = ThreadingHTTPServer(("", 0), Handler)
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield http.server_port, asked
    http.shutdown()
    http.server_close()


def test_a_redirect_into_the_network_is_not_followed(
    redirecting: tuple[int, list[str]], tmp_path: Path
) -> None:
    port, asked = redirecting
    registry = Registry(base_hosts=[f"127.0.0.1:{port}"])
    name = f"127.0.0.1:{port}/python:3"
    with pytest.raises(BuildError, match=r"127\.0\.0\.2 is not a public address") as caught:
        registry_base(registry, name, "linux/amd64", tmp_path, print, trusted=False)
    assert (caught.value.field, len(asked)) == ("base_image", 2)
    # What the operator chose may do it.
    with pytest.raises(BuildError, match="is not sha256:0000"):
        registry_base(registry, name, "linux/amd64", tmp_path, print, trusted=True)
    assert asked[-1] == "/secret"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("10.0.0.1", False),
        ("172.31.255.255", False),
        ("192.168.1.1", False),
        ("127.8.9.1", False),
        ("0.0.0.0", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::808:808", True),
        ("2002:7f00:1::", False),
        ("2002:a00:1::1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) == public


@pytest.mark.parametrize(
    ("entry", "host", "port", "named"),
    [
        ("example.org", "EXAMPLE.org.", 443, True),
        ("example.org", "a.example.org", 443, False),
        ("*.example.org", "a.example.org", 443, True),
        ("*.example.org", "example.org", 443, False),
        ("*.example.org", "example.org.evil.net", 443, False),
        ("example.org:8443", "example.org", 8443, True),
        ("example.org:8443", "example.org", 443, False),
        ("[::1]", "[::1]", 443, True),
        ("::1", "::1", 443, True),
        ("*", "10.0.0.1", 443, False),
    ],
)
def test_which_hosts_an_entry_names(entry: str, host: str, port: int, named: bool) -> None:
    assert Hosts((entry,)).names(host, port) == named
