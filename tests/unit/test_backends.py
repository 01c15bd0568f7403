"""What backends on this machine share: files replaced by many, and an engine that goes silent."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from a360_hub_service.backends.base import BackendError
from a360_hub_service.backends.engine import engine
from a360_hub_service.backends.targets.supervised import read_json, write_json


def test_threads_that_replace_a_file_at_the_same_time_all_do(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    documents = [{"number": number, "text": "x" * 10_000} for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda document: write_json(file, document), documents):
            assert read_json(file) in documents
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


class _Silent(BaseHTTPRequestHandler):
    """An engine that says its version and then hangs up on everything."""

    def do_GET(self) -> None:
        if not self.path.endswith("/version"):
            self.close_connection = True
            return
        body = json.dumps({"ApiVersion": "1.44", "Version": "1"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def silent_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """DOCKER_HOST leads to it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("silent_engine")
def test_an_engine_that_goes_silent_is_an_error_with_a_hint() -> None:
    with pytest.raises(BackendError, match="does not answer") as caught, engine(BackendError) as client:
        client.containers.list()
    assert caught.value.hint
