"""Run code in a kernel of a workspace as JupyterLab does: REST to start it, a websocket to talk to it."""

import contextlib
import json
import time
import uuid
from types import TracebackType
from typing import Any

import httpx
from websockets.sync.client import connect


class Kernel:
    """A kernel of a single-user server; use it in a ``with`` statement.

    Parameters
    ----------
    url
        Address of the server, for example ``http://127.0.0.1:8000/user/scientist/my-workspace/``.
    token
        A Hub token that may access the server.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url.rstrip("/"), token
        self.session = uuid.uuid4().hex
        self.http = httpx.Client(
            base_url=self.url, headers={"Authorization": f"token {token}"}, timeout=60, trust_env=False
        )

    def __enter__(self) -> "Kernel":
        answer = self.http.post("/api/kernels", json={"name": "python3"})
        answer.raise_for_status()
        self.id = answer.json()["id"]
        self._stack = contextlib.ExitStack()
        address = (
            f"ws{self.url.removeprefix('http')}/api/kernels/{self.id}/channels?session_id={self.session}"
        )
        headers = {"Authorization": f"token {self.token}"}
        self.socket = self._stack.enter_context(
            connect(address, additional_headers=headers, max_size=None, proxy=None)
        )
        self._wait_until_heard()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        with contextlib.suppress(httpx.HTTPError):  # the server may be gone, and the kernel with it
            self.http.delete(f"/api/kernels/{self.id}")
        self.http.close()

    def send(self, code: str) -> str:
        """Send a cell and do not wait for it; the id of the request."""
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        return self._send("execute_request", content)

    def run(self, code: str, seconds: float = 120) -> str:
        """Run a cell; what it printed, plus the value of its last line.

        Raises
        ------
        CellError
            When the cell raised, or the kernel died.
        """
        return self._collect(self.send(code), seconds)

    def _send(self, kind: str, content: dict[str, Any]) -> str:
        request = uuid.uuid4().hex
        header = {"msg_id": request, "msg_type": kind, "session": self.session, "version": "5.3"}
        message = {
            "header": {**header, "username": "", "date": ""},
            "parent_header": {},
            "metadata": {},
            "channel": "shell",
            "buffers": [],
            "content": content,
        }
        self.socket.send(json.dumps(message))
        return request

    def _wait_until_heard(self, seconds: float = 60) -> None:
        """Ask until an answer comes on both channels: what a kernel says before that can be lost."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                self._collect(self._send("kernel_info_request", {}), 2)
                return
        raise AssertionError("the kernel does not answer")

    def _collect(self, request: str, seconds: float) -> str:
        text, error, replied, idle = "", None, False, False
        deadline = time.monotonic() + seconds
        while not (replied and idle):
            item: dict[str, Any] = json.loads(self.socket.recv(timeout=max(0.1, deadline - time.monotonic())))
            kind, content = item["header"]["msg_type"], item["content"]
            if kind == "status" and content["execution_state"] in ("restarting", "dead"):
                raise CellError("KernelDied", "the kernel died", text)
            if item["parent_header"].get("msg_id") != request:
                continue
            if kind == "stream":
                text += content["text"]
            elif kind in ("execute_result", "display_data"):
                text += content["data"].get("text/plain", "") + "\n"
            elif kind == "error":
                error = CellError(content["ename"], content["evalue"], text)
            elif kind in ("execute_reply", "kernel_info_reply"):
                replied = True
            elif kind == "status" and content["execution_state"] == "idle":
                idle = True
        if error:
            raise error
        return text


class CellError(AssertionError):
    """A cell that raised: ``name`` of the exception, its ``message``, and what was printed before."""

    def __init__(self, name: str, message: str, printed: str) -> None:
        super().__init__(f"{name}: {message}\n{printed}")
        self.name, self.message, self.printed = name, message, printed
