"""The process that executes notebooks: commands come in as lines of JSON, events go out the same way.

It serves one notebook after the other, since importing papermill takes seconds. It ends with its server:
when the commands end, a running notebook is stopped.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

SECONDS_TO_END = 10.0


class Channel:
    """Events, on what was standard output; whatever libraries print goes to standard error."""

    def __init__(self) -> None:
        self._sink = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def tell(self, event: str, **more: Any) -> None:
        """Send an event."""
        self._sink.write(json.dumps({"event": event, **more}) + "\n")
        self._sink.flush()


class Worker:
    """Takes commands in turn; SIGTERM stops the notebook that is executed, and else the process."""

    def __init__(self) -> None:
        self._channel = Channel()
        self._commands: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._executing = False

    def run(self) -> None:
        """Work until there are no more commands."""
        signal.signal(signal.SIGTERM, self._stop)
        threading.Thread(target=self._listen, daemon=True).start()
        from a360_server_extension.captures import execution, registering  # takes seconds

        self._execution, self._registering = execution, registering
        self._channel.tell("ready")
        while (command := self._commands.get()) is not None:
            {"execute": self._execute, "register": self._register}[command["do"]](command)

    def _listen(self) -> None:
        for line in sys.stdin:
            self._commands.put(json.loads(line))
        # The server has ended: stop the notebook and its kernel, at the latest by ending this process.
        self._commands.put(None)
        if self._executing:
            os.kill(os.getpid(), signal.SIGTERM)
        end = threading.Timer(SECONDS_TO_END, os._exit, (1,))
        end.daemon = True
        end.start()

    def _stop(self, *_: object) -> None:
        if not self._executing:
            os._exit(0)
        self._executing = False  # once is enough
        client = self._execution.Engine.client
        if client is not None:
            client.shutdown_kernel = "immediate"
        raise self._execution.Stopped

    def _execute(self, command: dict[str, Any]) -> None:
        try:
            self._executing = True
            error = self._execution.execute(
                Path(command["source"]),
                Path(command["executed"]),
                command["parameters"],
                Path(command["origin"]),
                self._channel.tell,
            )
        except self._execution.Stopped:  # before or after the cells
            error = {"name": "Stopped", "message": "The notebook was stopped.", "cell": None}
        finally:
            self._executing = False
        self._channel.tell("executed", error=error)

    def _register(self, command: dict[str, Any]) -> None:
        from a360mdk.client import Unreachable

        try:
            answer = self._registering.register(
                command["capture"], Path(command["executed"]), command["seconds"]
            )
        except Unreachable as lost:
            self._channel.tell("unreachable", detail=str(lost))
        except Exception as error:  # the kit's errors have no class in common, and each is an answer
            self._channel.tell("refused", detail=f"{type(error).__name__}: {error}")
        else:
            self._channel.tell("registered", **answer)


if __name__ == "__main__":
    Worker().run()
