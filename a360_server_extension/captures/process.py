"""A worker process as the server sees it."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import psutil

LONGEST_LINE = 16 * 1024 * 1024
SECONDS_TO_STOP = 15.0


class WorkerDied(Exception):
    """The process ended in the middle of its work; with its exit code."""


class WorkerProcess:
    """A process of :mod:`a360_server_extension.captures.worker`; made by :meth:`start`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._answering = False

    @classmethod
    async def start(cls) -> "WorkerProcess":
        """Start one; it takes commands at once and works on them once it has imported what it needs."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "a360_server_extension.captures.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
            start_new_session=True,  # Ctrl-C in the server's terminal is the server's to handle
        )
        return cls(process)

    @property
    def alive(self) -> bool:
        """Whether it can take another command: it lives, and has answered the last one to its end."""
        return self._process.returncode is None and not self._answering

    async def ask(self, until: tuple[str, ...], **command: Any) -> AsyncIterator[dict[str, Any]]:
        """Send a command and give the events that follow, up to and with one of ``until``.

        Raises
        ------
        WorkerDied
            When it ends before that.
        """
        assert self._process.stdin
        assert self._process.stdout
        self._answering = True
        with contextlib.suppress(ConnectionError):  # the missing answer says it
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            await self._process.stdin.drain()
        while line := await self._process.stdout.readline():
            event = json.loads(line)
            self._answering = event["event"] not in until
            yield event
            if not self._answering:
                return
        raise WorkerDied(await self._process.wait())

    def stop_notebook(self) -> None:
        """Have it stop the notebook, of which it tells; nothing happens to a notebook that has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    async def end(self) -> None:
        """Let it end by itself, for its commands end; kill it with its kernels if it does not."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), SECONDS_TO_STOP)
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """Kill it and every process below it: kernels are in sessions of their own."""
        if self._process.returncode is not None:
            return  # its number may belong to another process by now
        with contextlib.suppress(psutil.Error):
            tree = psutil.Process(self._process.pid)
            for process in [*tree.children(recursive=True), tree]:
                with contextlib.suppress(psutil.Error):
                    process.kill()
