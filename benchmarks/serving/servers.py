"""The sides of the benchmark as processes: started, asked, measured, stopped."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import requests

from benchmarks.serving.model import Model
from tests.support import endpoints

HERE = Path(__file__).parent
PATIENCE_SECONDS = 180.0


@dataclass
class Side:
    """One server: how it is started, and how it is called."""

    name: str
    command: list[str]
    body: object
    path: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    port: int = 0
    ready_seconds: float = 0.0

    @property
    def url(self) -> str:
        """Where it is called."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    def start(self, log: Path) -> None:
        """Start it, and measure the time until it gives its first answer."""
        self.port = endpoints.free_port()
        command = [part.replace("{port}", str(self.port)) for part in self.command]
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | self.environment
        began = time.perf_counter()
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command, stdout=file, stderr=file, start_new_session=True, env=environment, cwd=self.folder
            )
        while not self._answers():
            if self._process.poll() is not None or time.perf_counter() - began > PATIENCE_SECONDS:
                raise SystemExit(f"{self.name} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.01)
        self.ready_seconds = time.perf_counter() - began

    def answer(self) -> Any:
        """Call it once; the answer's JSON."""
        headers = {"apikey": endpoints.KEY}
        return requests.post(self.url, json=self.body, headers=headers, timeout=10).json()

    def memory(self) -> int:
        """Bytes of memory its processes take now."""
        return sum(each.memory_info().rss for each in self._processes())

    def cpu_seconds(self) -> float:
        """Seconds of processor time its processes have taken so far."""
        times = [each.cpu_times() for each in self._processes()]
        return sum(each.user + each.system for each in times)

    def _processes(self) -> list[psutil.Process]:
        main = psutil.Process(self._process.pid)
        return [main, *main.children(recursive=True)]

    def stop(self) -> None:
        """End it, and all it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return bool(self.answer())
        except (requests.RequestException, ValueError):
            return False


@contextlib.contextmanager
def running(sides: list[Side], logs: Path) -> Iterator[None]:
    """Start the sides one after the other; stop them all at the end."""
    started: list[Side] = []
    try:
        for side in sides:
            started.append(side)
            side.start(logs / f"{side.name.replace(' ', '-')}.log")
        yield
    finally:
        for side in started:
            if hasattr(side, "_process"):
                side.stop()


def environment_of(name: str) -> Path:
    """The Python of a peer's own environment, made from its list of requirements when that changes."""
    folder = Path(sys.prefix) / "benchmarks" / name
    wanted, stamp = (HERE / f"{name}.txt").read_text(), folder / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"Making the environment of {name} in {folder}; that takes a minute.", flush=True)
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)], check=True)
        python, listed = str(folder / "bin" / "python"), str(HERE / f"{name}.txt")
        subprocess.run([*uv, "pip", "install", "-q", "--python", python, "-r", listed], check=True)
        stamp.write_text(wanted)
    return folder / "bin" / "python"


def ours(wrapper: str, bundle: Path, keys: Path, row: dict[str, float]) -> Side:
    """A replica as targets start it."""
    command = [sys.executable, "-I", "-S", str(bundle / "run.py"), "--port", "{port}"]
    environment = {"A360_KEYS_FILE": str(keys), "A360_THREADS": "1"}
    return Side(f"ours {wrapper}", command, row, environment=environment)


def constant(interface: str) -> Side:
    """A server of constant answers."""
    name = "constant flask" if interface == "wsgi" else "constant asgi"
    return Side(name, [sys.executable, str(HERE / "constant.py"), interface, "{port}"], {})


def peers(model: Model, folder: Path) -> list[Side]:
    """MLflow's scoring server with both forms of the model, and BentoML with the graph."""
    mlflow, bentoml = environment_of("mlflow"), environment_of("bentoml")
    train = [str(mlflow), str(HERE / "train_mlflow.py"), str(model.table), str(model.onnx), str(folder)]
    subprocess.run(train, check=True, capture_output=True)
    values = list(model.row.values())
    serve = [str(mlflow.with_name("mlflow")), "models", "serve", "--env-manager", "local", "--workers", "1"]
    path = {"PATH": f"{mlflow.parent}:{os.environ['PATH']}"}
    sides = [
        Side(
            f"MLflow {form}",
            [*serve, "-p", "{port}", "-m", str(folder / f"mlflow-{form}")],
            body,
            "/invocations",
            path,
        )
        for form, body in (("sklearn", {"inputs": [values]}), ("onnx", {"inputs": {"X": [values]}}))
    ]
    command = [str(bentoml.with_name("bentoml")), "serve", "bento_service:Churn", "-p", "{port}"]
    about = {"MODEL": str(model.onnx), "BENTOML_DO_NOT_TRACK": "True"}
    return [*sides, Side("BentoML onnx", command, {"row": model.row}, "/predict", about, HERE)]


def write_keys(path: Path, *keys: str) -> Path:
    """Write the file of keys."""
    records = [vars(endpoints.key_record(key)) | {"expires_at": None} for key in keys]
    path.write_text(json.dumps(records))
    return path
