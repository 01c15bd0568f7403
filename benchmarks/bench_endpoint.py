"""One-row calls to an endpoint against the same session in-process and against a constant-answer server.

The endpoint is a bundle of a RandomForest(100, depth 6) on 26 columns, one replica behind the gateway. The
constant-answer server is the same kind of server (Flask on granian, one worker) that always says the same.
All calls are made on one kept connection, one after the other. Rounds take turns, so that a busy machine is
busy for all sides.

    python -m benchmarks.bench_endpoint [--rounds 9] [--calls 300]
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import requests
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier

from a360_hub_service.backends.images import builder_class
from a360_hub_service.backends.targets import EndpointSpec, Gateway, target_class
from a360runtime import ONNXModel
from tests.support import endpoints

COLUMNS = 26

SCRIPT = """\
import json

import numpy as np


def predict(artifact_list, payload):
    row = np.array(list(json.loads(payload).values()), dtype=float).reshape(1, -1)
    return float(artifact_list[0].predict(row)[0])
"""

CONSTANT = """\
import sys

from flask import Flask, Response, request
from granian import Granian
from granian.constants import HTTPModes, Interfaces

app = Flask("constant")


@app.post("/")
def constant():
    request.get_data()
    return Response('{"prediction": 1.0}', mimetype="application/json")


Granian("constant", port=int(sys.argv[1]), interface=Interfaces.WSGI, http=HTTPModes.http1, websockets=False,
        blocking_threads=3).serve(target_loader=lambda: app, wrap_loader=False)
"""


def write_model(path: Path) -> None:
    """Write the forest as ONNX."""
    random = np.random.default_rng(0)
    features = random.normal(size=(4000, COLUMNS))
    target = (features[:, 0] + features[:, 1] > 0).astype(int)
    forest = RandomForestClassifier(100, max_depth=6, random_state=0).fit(features, target)
    graph = to_onnx(forest, np.zeros((1, COLUMNS), dtype=np.float32), options={"zipmap": False})
    path.write_bytes(graph.SerializeToString())


def per_call(call: Callable[[], object], calls: int) -> float:
    """Return the median seconds of one call."""
    taken = []
    for _ in range(calls):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def poster(url: str, body: str) -> Callable[[], object]:
    """Return what posts the body on a connection of its own, and checks the answer."""
    session = requests.Session()
    session.headers.update({"Content-Type": "application/json", "apikey": endpoints.KEY})

    def post() -> object:
        answer = session.post(url, data=body, timeout=30)
        answer.raise_for_status()
        return answer.json()["prediction"]

    return post


def measure(home: Path, rounds: int, calls: int) -> dict[str, list[float]]:
    """Return the seconds per call of each round for every side."""
    model, repo = home / "model", home / "repo"
    write_model(model)
    endpoints.write_files(repo, {"predict.py": SCRIPT, "requirements.txt": "numpy\n"})
    body = json.dumps({f"f{n}": n / COLUMNS for n in range(COLUMNS)})
    package = builder_class("bundle")(home=str(home)).build(
        endpoints.package_request(model, repo, slug="bench"), lambda line: None
    )
    gateway = Gateway(home=str(home), port=endpoints.free_port())
    target = target_class("process")(home=str(home), gateway=gateway)
    target.write_keys("bench", [endpoints.key_record()])
    port = endpoints.free_port()
    (home / "constant.py").write_text(CONSTANT)
    constant = subprocess.Popen(
        [sys.executable, str(home / "constant.py"), str(port)],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        status = target.apply(EndpointSpec("bench", package, cpu_limit=1.0), lambda line: None)
        constant_call = poster(f"http://127.0.0.1:{port}/", body)
        endpoints.eventually(lambda: _answers(constant_call))
        # One thread on both sides, as a replica with one CPU has.
        os.environ["A360_THREADS"] = "1"
        session = ONNXModel(str(model))
        row = np.array(list(json.loads(body).values()), dtype=float).reshape(1, -1)
        sides: dict[str, Callable[[], object]] = {
            "session in-process": lambda: session.predict(row),
            "constant-answer server": constant_call,
            "replica": poster(f"http://{status.items[0].address}/", body),
            "endpoint": poster(status.url, body),
        }
        assert sides["endpoint"]() == float(session.predict(row)[0])
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(rounds + 1):
            for name, call in sides.items():
                seconds = per_call(call, calls)
                if number:  # the first round warms up
                    taken[name].append(seconds)
        return taken
    finally:
        os.killpg(constant.pid, signal.SIGKILL)
        constant.wait()
        target.remove("bench", lambda line: None)
        gateway.stop()


def _answers(call: Callable[[], object]) -> bool:
    try:
        return bool(call())
    except requests.ConnectionError:
        return False


def main() -> None:
    """Print times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        taken = measure(Path(folder), options.rounds, options.calls)
    for name, seconds in taken.items():
        median, best = statistics.median(seconds) * 1000, min(seconds) * 1000
        print(f"{name:44} {median:7.3f} ms (median of {options.rounds} rounds, best {best:.3f})")
    for name, base in (
        ("endpoint", "session in-process"),
        ("endpoint", "constant-answer server"),
        ("replica", "constant-answer server"),
    ):
        pairs = zip(taken[name], taken[base], strict=True)
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"{f'{name} / {base}':44} {ratio:7.2f} x")


if __name__ == "__main__":
    main()
