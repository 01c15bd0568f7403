"""A real browser: Chromium, driven over its DevTools protocol."""

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.support.service import wait_for

PATIENCE = 120
"""Seconds: a browser has a hard time on a machine that is busy with other tests."""


class Tab:
    """A tab; ``events`` is everything the browser told of it."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._number = socket, 0
        self.events: list[dict[str, Any]] = []

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=PATIENCE))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return dict(message["result"])
            if "method" in message:
                self.events.append(message)
            if message.get("method") == "Page.javascriptDialogOpening":
                # It would keep the page, and every question about it, waiting.
                dismiss = {"id": 0, "method": "Page.handleJavaScriptDialog", "params": {"accept": False}}
                self._socket.send(json.dumps(dismiss))

    def open(self, url: str, headers: dict[str, str] | None = None) -> None:
        """Go to an address and wait until it is loaded."""
        self.events.clear()
        for domain in ("Page", "Network", "Runtime"):
            self.do(f"{domain}.enable")
        self.do("Network.setExtraHTTPHeaders", headers=headers or {})
        self.do("Page.navigate", url=url)
        wait_for(lambda: self._loaded(url), seconds=PATIENCE, message=f"{url} was not loaded")

    def _loaded(self, url: str) -> bool:
        try:  # the page before this one may still be there, or be going
            return bool(
                self.value(f"document.readyState === 'complete' && location.href === {json.dumps(url)}")
            )
        except AssertionError:
            return False

    def value(self, expression: str) -> Any:
        """The value of an expression in the page; developers' tools may where the page's scripts may not."""
        found = self.do("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def settle(self, seconds: float = 0.5) -> None:
        """Give whatever the page would still do the time to do it."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.value("1")

    def requested(self) -> list[str]:
        """Addresses the page asked for since it was opened, also in vain; what it holds itself is none."""
        found = [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in found if not url.startswith("data:")]


@contextmanager
def chromium() -> Iterator[Tab]:
    """A browser with one tab; the test is skipped where none is installed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed here (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory(prefix="a360-chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--no-proxy-server", "--disable-background-networking", "--remote-debugging-port=0",
             f"--user-data-dir={profile}",
             "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield from _tab(Path(profile) / "DevToolsActivePort")
        finally:
            process.terminate()
            process.wait(20)


def _tab(port_file: Path) -> Iterator[Tab]:
    import httpx

    wait_for(
        lambda: port_file.exists() and port_file.read_text().count("\n"),
        seconds=PATIENCE,
        message="no Chromium came up",
    )
    port = port_file.read_text().splitlines()[0]
    pages = wait_for(
        lambda: [
            page
            for page in httpx.get(f"http://127.0.0.1:{port}/json", trust_env=False).json()
            if page["type"] == "page"
        ]
    )
    with connect(pages[0]["webSocketDebuggerUrl"], max_size=None, proxy=None) as socket:
        yield Tab(socket)
