"""The gateway by itself: real traefik, small servers behind it."""

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from a360_hub_service.backends.targets import Gateway, TargetError
from tests.support.endpoints import eventually, free_port


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    text = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.text)))
        self.end_headers()
        self.wfile.write(self.text.encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def backends() -> Iterator[list[str]]:
    """Addresses of three servers that answer their number."""
    servers = []
    for number in "123":
        handler = type("Handler", (Answer,), {"text": number})
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
    yield [f"127.0.0.1:{server.server_port}" for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(home=str(tmp_path), port=free_port())
    yield made
    made.stop()


def get(gateway: Gateway, slug: str) -> str:
    return requests.post(gateway.url(slug), data="{}", timeout=10).text


def pids(gateway: Gateway) -> dict[str, int]:
    state = json.loads(Path(gateway.home, "gateway", "run", "state.json").read_text())
    return {"supervisor": state["supervisor"]["pid"], "traefik": state["replicas"]["traefik"]["pid"]}


def test_routes_are_in_effect_when_the_call_returns(gateway: Gateway, backends: list[str]) -> None:
    gateway.ensure_running(print)
    for number, address in enumerate(backends, 1):
        gateway.set_route("one", [address])
        assert {get(gateway, "one") for _ in range(5)} == {str(number)}
    gateway.set_route("one", backends)
    assert {get(gateway, "one") for _ in range(9)} == {"1", "2", "3"}
    assert requests.get(gateway.url("two"), timeout=5).status_code == 404
    gateway.remove_route("one")
    gateway.remove_route("one")
    assert requests.get(gateway.url("one"), timeout=5).status_code == 404


def test_starting_it_twice_gives_one_gateway(gateway: Gateway) -> None:
    log: list[str] = []
    threads = [threading.Thread(target=gateway.ensure_running, args=(log.append,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(log) == 1
    before = pids(gateway)
    # Another service with the same settings takes it over.
    Gateway(home=gateway.home, port=gateway.port).ensure_running(log.append)
    assert pids(gateway) == before
    assert len(log) == 1


def test_it_comes_back_with_its_routes(gateway: Gateway, backends: list[str]) -> None:
    gateway.ensure_running(print)
    gateway.set_route("one", backends[:1])
    os.kill(pids(gateway)["traefik"], signal.SIGKILL)

    def answers() -> bool:
        try:
            return get(gateway, "one") == "1"
        except requests.ConnectionError:
            return False

    eventually(answers)
    os.kill(pids(gateway)["supervisor"], signal.SIGKILL)
    assert answers()


def test_other_settings_move_it(gateway: Gateway, backends: list[str]) -> None:
    gateway.ensure_running(print)
    gateway.set_route("one", backends[:1])
    moved = Gateway(home=gateway.home, port=free_port())
    moved.ensure_running(print)
    assert get(moved, "one") == "1"
    with pytest.raises(requests.ConnectionError):
        get(gateway, "one")


def test_a_taken_port_is_named(gateway: Gateway) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", gateway.port))
        other.listen()
        with pytest.raises(TargetError, match=f"Port {gateway.port} .* is taken") as caught:
            gateway.ensure_running(print)
        assert "another port" in caught.value.hint
        assert not gateway.health().available
        assert not (Path(gateway.home) / "gateway" / "run" / "state.json").exists()
    gateway.ensure_running(print)
    assert gateway.health().available


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    gateway = Gateway(home=str(tmp_path), port=free_port(), program=str(tmp_path / "none"), start_timeout=2)
    with pytest.raises(TargetError, match="did not start"):
        gateway.ensure_running(print)


def test_its_own_port_is_for_this_machine_only(gateway: Gateway) -> None:
    gateway.ensure_running(print)
    state = json.loads(Path(gateway.home, "gateway", "gateway.json").read_text())
    config = Path(gateway.home, "gateway", "traefik.json.yml").read_text()
    assert f"127.0.0.1:{state['admin']}" in config
    assert requests.get(f"http://127.0.0.1:{gateway.port}/api/http/routers", timeout=5).status_code == 404


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"host": "0.0.0.0", "port": 9}, "http://0.0.0.0:9/one/"),
        ({"public_url": "https://models.example.org/"}, "https://models.example.org/one/"),
    ],
)
def test_the_url_callers_see(settings: dict[str, Any], url: str) -> None:
    assert Gateway(**settings).url("one") == url
