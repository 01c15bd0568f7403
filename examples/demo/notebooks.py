"""Notebooks run as JupyterLab runs them: a workspace's contents, sessions and kernels over its API."""

import asyncio
import copy
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from .errors import DemoError

Notebook = dict[str, Any]


class CellFailed(DemoError):
    """A cell raised; the traceback is plain text.

    Attributes
    ----------
    traceback : str
        As the kernel printed it, without colours.
    """

    def __init__(self, path: str, number: int, name: str, value: str, traceback: str) -> None:
        super().__init__(f"Cell {number} of {path} failed: {name}: {value}", "The traceback is above.")
        self.traceback = traceback


class Jupyter:
    """The Jupyter server of a workspace.

    Parameters
    ----------
    url : str
        Address of the server, e.g. ``http://127.0.0.1:8000/user/scientist/lab/``.
    token : str
        Token of the person it belongs to.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/") + "/"
        self.headers = {"Authorization": f"token {token}"}
        self.http = httpx.Client(base_url=self.url, headers=self.headers, timeout=60, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.http.close()

    def upload(self, source: Path, path: str = "") -> None:
        """Put a file into the workspace's home; notebooks as notebooks, all else as text."""
        path = path or source.name
        if path.endswith(".ipynb"):
            self.save(path, json.loads(source.read_text()))
        else:
            body = {"type": "file", "format": "text", "content": source.read_text()}
            self._call("PUT", f"api/contents/{quote(path)}", body)

    def save(self, path: str, notebook: Notebook) -> None:
        """Store a notebook, as Lab's Save does."""
        body = {"type": "notebook", "format": "json", "content": notebook}
        self._call("PUT", f"api/contents/{quote(path)}", body)

    def load(self, path: str) -> Notebook:
        """A notebook of the workspace."""
        notebook: Notebook = self._call("GET", f"api/contents/{quote(path)}?type=notebook&content=1")[
            "content"
        ]
        return notebook

    def run(
        self, path: str, progress: Callable[[str], None] = lambda text: None, seconds: float = 600
    ) -> Notebook:
        """Run all cells of a notebook in a kernel of its own, saving after each cell.

        Parameters
        ----------
        path : str
            Where it is in the workspace.
        progress : callable, optional
            Told which cell runs.
        seconds : float
            Longest time for one cell.

        Returns
        -------
        dict
            The notebook with its outputs.

        Raises
        ------
        CellFailed
            When a cell raises; later cells do not run.
        """
        notebook = self.load(path)
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        with Kernel(self, path) as kernel:
            for number, cell in enumerate(cells, 1):
                progress(f"cell {number} of {len(cells)}")
                outputs, count = kernel.execute("".join(cell["source"]), seconds)
                cell["outputs"], cell["execution_count"] = outputs, count
                self.save(path, _without_colours(notebook))
                for output in outputs:
                    if output["output_type"] == "error":
                        text = "\n".join(plain(line) for line in output["traceback"])
                        raise CellFailed(path, number, output["ename"], output["evalue"], text)
        return notebook

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.http.request(method, path, json=body)
        if answer.is_error:
            raise DemoError(
                f"The workspace answered {method} {path} with {answer.status_code}: {answer.text[:300]}"
            )
        return answer.json() if answer.content else None


class Kernel:
    """A kernel started for a notebook by a session, ended with the block.

    Parameters
    ----------
    jupyter : Jupyter
        Where to start it.
    path : str
        The notebook it belongs to.
    """

    def __init__(self, jupyter: Jupyter, path: str) -> None:
        self._jupyter = jupyter
        self._client = uuid.uuid4().hex
        body = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}}
        self._session = jupyter._call("POST", "api/sessions", body)
        self._loop = asyncio.new_event_loop()
        self._socket: WebSocketClientConnection | None = None

    def __enter__(self) -> Self:
        kernel = self._session["kernel"]["id"]
        address = self._jupyter.url.replace("http", "ws", 1) + f"api/kernels/{kernel}/channels"
        self._socket = self._loop.run_until_complete(self._connect(f"{address}?session_id={self._client}"))
        return self

    def __exit__(self, *exception: object) -> None:
        if self._socket is not None:
            self._socket.close()
        self._loop.close()
        self._jupyter._call("DELETE", f"api/sessions/{self._session['id']}")

    async def _connect(self, address: str) -> WebSocketClientConnection:
        request = HTTPRequest(address, headers=self._jupyter.headers, connect_timeout=60, request_timeout=60)
        return await websocket_connect(request, max_message_size=2**28)

    async def _receive(self, seconds: float) -> dict[str, Any]:
        assert self._socket is not None
        text = await asyncio.wait_for(self._read(), seconds)
        if text is None:
            raise DemoError("The connection to the kernel broke; the workspace may have stopped.")
        message: dict[str, Any] = json.loads(text)
        return message

    async def _send(self, text: str) -> None:
        assert self._socket is not None
        await self._socket.write_message(text)

    async def _read(self) -> str | bytes | None:
        assert self._socket is not None
        return await self._socket.read_message()

    def execute(self, code: str, seconds: float = 600) -> tuple[list[dict[str, Any]], int | None]:
        """Run code; its outputs in nbformat's shape and the execution count.

        Raises
        ------
        DemoError
            When the kernel dies or the code takes longer than ``seconds``.
        """
        assert self._socket is not None
        request = self._request(
            "execute_request", {"code": code, "allow_stdin": False, "stop_on_error": True}
        )
        self._loop.run_until_complete(self._send(json.dumps(request)))
        outputs = Outputs()
        deadline, idle, count, replied = time.monotonic() + seconds, False, None, False
        while not (idle and replied):
            try:
                message = self._loop.run_until_complete(self._receive(deadline - time.monotonic()))
            except TimeoutError:
                raise DemoError(f"A cell took longer than {seconds:.0f} s.") from None
            kind, content = message["header"]["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] in ("dead", "restarting"):
                raise DemoError("The kernel died; it may have reached the workspace's memory limit.")
            if message["parent_header"].get("msg_id") != request["header"]["msg_id"]:
                continue
            if kind == "status":
                idle = content["execution_state"] == "idle"
            elif kind == "execute_reply":
                replied, count = True, content.get("execution_count")
            else:
                outputs.take(kind, content)
        return outputs.items, count

    def _request(self, kind: str, content: dict[str, Any]) -> dict[str, Any]:
        header = {
            "msg_id": uuid.uuid4().hex,
            "session": self._client,
            "username": "",
            "msg_type": kind,
            "version": "5.3",
        }
        content = {"silent": False, "store_history": True, "user_expressions": {}} | content
        return {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "channel": "shell",
            "buffers": [],
        }


class Outputs:
    """The outputs of a cell, put together from the kernel's messages as Lab does."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self._displays: dict[str, list[dict[str, Any]]] = {}
        self._clear = False

    def take(self, kind: str, content: dict[str, Any]) -> None:
        """Add one message."""
        if kind == "clear_output":
            self._clear = True
            if not content.get("wait"):
                self._clear_now()
        elif kind == "stream":
            self._clear_now()
            last = self.items[-1] if self.items else {}
            if last.get("output_type") == "stream" and last["name"] == content["name"]:
                last["text"] += content["text"]
            else:
                self.items.append({"output_type": "stream", "name": content["name"], "text": content["text"]})
        elif kind in ("display_data", "execute_result", "update_display_data"):
            self._show(kind, content)
        elif kind == "error":
            self._clear_now()
            keys = ("ename", "evalue", "traceback")
            self.items.append({"output_type": "error"} | {key: content[key] for key in keys})

    def _show(self, kind: str, content: dict[str, Any]) -> None:
        display = str((content.get("transient") or {}).get("display_id") or "")
        new = {"data": content["data"], "metadata": content.get("metadata") or {}}
        if kind == "update_display_data":
            for item in self._displays.get(display, []):
                item.update(new)
            return
        self._clear_now()
        item = {"output_type": kind} | new
        if kind == "execute_result":
            item["execution_count"] = content.get("execution_count")
        self.items.append(item)
        if display:
            self._displays.setdefault(display, []).append(item)

    def _clear_now(self) -> None:
        if self._clear:
            self.items.clear()
            self._clear = False


def text_of(output: dict[str, Any]) -> str:
    """The plain text of an output."""
    if output["output_type"] == "stream":
        return str(output["text"])
    if output["output_type"] == "error":
        return "\n".join(plain(line) for line in output["traceback"])
    text = output["data"].get("text/plain", "")
    return text if isinstance(text, str) else "".join(text)


def plain(text: str) -> str:
    """Text without the escape sequences terminals colour it with."""
    parts = text.split("\x1b[")
    return parts[0] + "".join(part.partition("m")[2] for part in parts[1:])


def _without_colours(notebook: Notebook) -> Notebook:
    # A file shown in browsers and reports: no terminal escapes, no shared objects with the running copy.
    stored = copy.deepcopy(notebook)
    for cell in stored["cells"]:
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                output["traceback"] = [plain(line) for line in output["traceback"]]
    return stored
