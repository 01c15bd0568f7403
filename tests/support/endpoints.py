"""What tests of packages and endpoints share: a small model, a repository with a script, callers."""

import hashlib
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import requests
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from a360_hub_service.backends.images import BuildRequest
from a360_hub_service.backends.targets import KeyRecord

KEY = "a360_test-key"
ROW = {"sepal length": 5.1, "sepal width": 3.5, "petal length": 1.4, "petal width": 0.2}

SCRIPT = """\
import json
import os

import numpy as np


def predict(artifact_list, payload):
    row = json.loads(payload)
    if "sleep" in row:
        import time
        if "started" in row:
            open(row["started"], "w").close()
        time.sleep(row["sleep"])
        return row["sleep"]
    if "environment" in row:
        return os.environ.get(row["environment"])
    if "pid" in row:
        return os.getpid()
    values = np.array(list(row.values()), dtype=float).reshape(1, -1)
    return float(artifact_list[0].predict(values)[0])
"""


def train() -> RandomForestClassifier:
    """Return a small forest on real flowers."""
    features, target = load_iris(return_X_y=True)
    return RandomForestClassifier(5, max_depth=4, random_state=0).fit(features, target)


def write_model(path: Path) -> Path:
    """Write the forest as ONNX, named as artifacts are."""
    model = to_onnx(train(), np.zeros((1, 4), dtype=np.float32), options={"zipmap": False})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    """Write text files by their path in `folder`."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def package_request(
    model: Path, repo: Path, slug: str = "iris-forest-1-0", baseline: Path | None = None, **changes: Any
) -> BuildRequest:
    """Return a request for a package of the forest with a fresh id."""
    artifacts = {"trained_model": model} | ({"baseline": baseline} if baseline else {})
    settings: dict[str, Any] = {
        "package_id": uuid.uuid4().hex,
        "slug": slug,
        "manifest": {"project": "Iris", "model_name": "forest", "version": "1.0"},
        "artifact_files": artifacts,
        "repo_dir": repo,
        "script_name": "predict.py",
        "commit": "c" * 40,
    }
    return BuildRequest(**(settings | changes))


def key_record(key: str = KEY, expires_at: str = "") -> KeyRecord:
    """Return what is stored of a key."""
    return KeyRecord(uuid.uuid4().hex, hashlib.sha256(key.encode()).hexdigest(), expires_at)


def call(url: str, body: object = ROW, key: str = KEY) -> requests.Response:
    """Call an endpoint as people do."""
    headers = {"Content-Type": "application/json", "apikey": key}
    return requests.post(url, data=json.dumps(body), headers=headers, timeout=30)


def eventually(condition: Callable[[], object], seconds: float = 30) -> Any:
    """Return the first true answer of `condition`, or fail."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        time.sleep(0.05)
    return found


def free_port() -> int:
    """Return a port nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Calls:
    """What a caller in the background saw."""

    good: int = 0
    bad: list[str] = field(default_factory=list)


@contextmanager
def calling(url: str, callers: int = 2) -> Iterator[Calls]:
    """Call without a pause from several threads while the block runs."""
    calls, stop = Calls(), threading.Event()

    def work() -> None:
        with requests.Session() as session:
            while not stop.is_set():
                try:
                    headers = {"Content-Type": "application/json", "apikey": KEY}
                    answer = session.post(url, data=json.dumps(ROW), headers=headers, timeout=30)
                    if answer.status_code == 200 and answer.json() == {"prediction": 0.0}:
                        calls.good += 1
                    else:
                        calls.bad.append(f"{answer.status_code} {answer.text}")
                except requests.RequestException as error:
                    calls.bad.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield calls
    finally:
        stop.set()
        for thread in threads:
            thread.join()


BASELINE = {name: {"mean": 1.0, "std": 0.5} for name in ROW}
