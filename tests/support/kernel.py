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
    """A kernel of a single-user server.

    Parameters
    ----------
    url
        Address of the server, for example ``http://127.0.0.1:8000/user/scientist/my-workspace/``.
    token
        A Hub token that may access the server.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url.rstrip("/"), token
        self.http = httpx.Client(
            base_url=self.url, headers={"Authorization": f"token {token}"}, timeout=60, trust_env=False
        )
        answer = self.http.post("/api/kernels", json={"name": "python3"})
        answer.raise_for_status()
        self.id = answer.json()["id"]
        self.session = uuid.uuid4().hex
        self.socket = connect(
            f"ws{self.url.removeprefix('http')}/api/kernels/{self.id}/channels?session_id={self.session}",
            additional_headers={"Authorization": f"token {token}"},
            max_size=None,
            proxy=None,
        )

    def run(self, code: str, seconds: float = 120) -> str:
        """Run a cell; what it printed, plus the value of its last line.

        Raises
        ------
        CellError
            When the cell raised, or the kernel died.
        """
        request = uuid.uuid4().hex
        header = {"msg_id": request, "msg_type": "execute_request", "session": self.session, "version": "5.3"}
        message = {
            "header": {**header, "username": "", "date": ""},
            "parent_header": {},
            "metadata": {},
            "channel": "shell",
            "buffers": [],
            "content": {"code": code, "silent": False, "store_history": True, "allow_stdin": False},
        }
        self.socket.send(json.dumps(message))
        return self._collect(request, seconds)

    def _collect(self, request: str, seconds: float) -> str:
        text, error, replied = "", None, False
        deadline = time.monotonic() + seconds
        while True:
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
            elif kind == "execute_reply":
                replied = True
            elif kind == "status" and content["execution_state"] == "idle" and replied:
                if error:
                    raise error
                return text

    def close(self) -> None:
        """Stop the kernel."""
        self.socket.close()
        with contextlib.suppress(httpx.HTTPError):  # the server may be gone, and the kernel with it
            self.http.delete(f"/api/kernels/{self.id}")
        self.http.close()

    def __enter__(self) -> "Kernel":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class CellError(AssertionError):
    """A cell that raised: ``name`` of the exception, its ``message``, and what was printed before."""

    def __init__(self, name: str, message: str, printed: str) -> None:
        super().__init__(f"{name}: {message}\n{printed}")
        self.name, self.message, self.printed = name, message, printed
