"""A Jupyter server with the extension, as a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import httpx

from tests.support.service import free_port, wait_for


class Server:
    """A Jupyter server with the extension."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = folder / "server.log"
        command = [
            sys.executable, "-m", "jupyter_server", f"--ServerApp.port={self.url.rsplit(':')[-1]}",
            "--no-browser", "--allow-root",
            "--IdentityProvider.token=secret", f"--ServerApp.root_dir={folder}",
            "--ServerApp.jpserver_extensions={'a360_server_extension': True}",
        ]  # fmt: skip
        self.http = httpx.Client(base_url=self.url, headers={"Authorization": "token secret"}, timeout=30)
        output = self.log.open("w")
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        output.close()
        wait_for(self.answers, seconds=60, message="the server did not start")

    def answers(self) -> bool:
        """Whether it is up."""
        assert self.process.poll() is None, self.log.read_text()
        return self.http.get("/api/status").status_code == 200

    def last_activity(self) -> str:
        """What it would report to the Hub."""
        return str(self.http.get("/api/status").json()["last_activity"])

    def stop(self) -> None:
        """Stop it."""
        self.http.close()
        self.process.terminate()
        self.process.wait(20)

    def kill(self) -> None:
        """Kill it, as a machine that loses power does."""
        self.http.close()
        self.process.kill()
        self.process.wait(20)
