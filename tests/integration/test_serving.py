"""A package served by the real server, in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from sklearn.datasets import load_iris

from a360_hub_service.backends.images import BuiltPackage
from a360_hub_service.backends.images.bundle import copy_tree
from tests.support import endpoints
from tests.support.wrappers import WRAPPERS


class Server:
    def __init__(self, bundle: BuiltPackage, folder: Path, **environment: str) -> None:
        self.url = f"http://127.0.0.1:{endpoints.free_port()}"
        keys = folder / "keys.json"
        keys.write_text(json.dumps([vars(endpoints.key_record()) | {"expires_at": None}]), "utf-8")
        self.log = folder / "server.log"
        command = [sys.executable, f"{bundle.reference}/run.py", "--port", self.url.rpartition(":")[2]]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={"PATH": os.defpath, "A360_KEYS_FILE": str(keys)} | environment,
            )
        endpoints.eventually(self.is_ready)

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return requests.get(f"{self.url}/readyz", timeout=5).ok
        except requests.ConnectionError:
            return False

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture(scope="module", params=WRAPPERS)
def package(request: pytest.FixtureRequest, bundle: BuiltPackage, tmp_path_factory: Any) -> BuiltPackage:
    """The bundle with each of the REST wrappers."""
    folder = tmp_path_factory.mktemp(request.param) / "package"
    copy_tree(Path(bundle.reference), folder, link=True)
    manifest = json.loads((folder / "a360.json").read_text()) | {"wrapper": request.param}
    (folder / "a360.json").unlink()  # a link to the original
    (folder / "a360.json").write_text(json.dumps(manifest))
    return replace(bundle, reference=str(folder))


@pytest.fixture(scope="module")
def server(package: BuiltPackage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    running = Server(package, folder, A360_THREADS="1", A360_MAX_BODY="100000")
    yield running
    running.stop()


@pytest.mark.row("F330", "F331")
def test_callers_as_in_the_wild_get_what_the_native_model_says(server: Server, tmp_path: Path) -> None:
    features, _ = load_iris(return_X_y=True, as_frame=True)
    native = endpoints.train().predict(features.to_numpy())
    header = {"Content-Type": "application/json", "apikey": endpoints.KEY}
    (tmp_path / "header.json").write_text(json.dumps(header))
    frame = pd.DataFrame(features)
    for i in range(0, 150, 5):
        answer = requests.post(
            f"{server.url}/iris-forest-1-0/",
            data=frame.iloc[i].to_json(),
            headers=json.loads((tmp_path / "header.json").read_text()),
            timeout=10,
        )
        assert float(answer.text.split(":")[-1].split("}")[0]) == native[i]


def test_a_kept_connection_and_a_body_in_chunks_work(server: Server) -> None:
    with requests.Session() as session:
        session.headers["apikey"] = endpoints.KEY
        for _ in range(3):
            assert session.post(server.url, data=json.dumps(endpoints.ROW)).text == '{"prediction": 0.0}'
        chunks = (part.encode() for part in json.dumps(endpoints.ROW).partition(":"))
        assert session.post(server.url, data=chunks).json() == {"prediction": 0.0}
        too_large = (b"x" * 10_000 for _ in range(20))
        assert session.post(server.url, data=too_large).status_code == 413


def test_calls_in_progress_are_finished_at_the_end(package: BuiltPackage, tmp_path: Path) -> None:
    server = Server(package, tmp_path)
    answers: list[requests.Response] = []
    started = tmp_path / "started"
    body = {"sleep": 1.0, "started": str(started)}
    caller = threading.Thread(target=lambda: answers.append(endpoints.call(server.url, body)))
    caller.start()
    endpoints.eventually(started.exists)
    assert server.stop() == 0
    caller.join()
    assert answers[0].json() == {"prediction": 1.0}
    assert "access time=" in server.log.read_text()  # the last line is written too


def test_a_replica_that_is_stopped_under_load_loses_no_call(package: BuiltPackage, tmp_path: Path) -> None:
    server = Server(package, tmp_path, A360_STOP_DELAY="0.5")
    ready, lost = threading.Barrier(7), []
    told: list[int] = []

    def call() -> None:
        """Call on one kept connection until an answer says that it is the last one."""
        count = 0
        with requests.Session() as session:
            session.headers["apikey"] = endpoints.KEY
            ready.wait()
            while True:
                try:
                    answer = session.post(server.url, data=json.dumps(endpoints.ROW), timeout=10)
                except requests.RequestException as error:
                    lost.append(repr(error))
                    return
                count += 1
                if answer.text != '{"prediction": 0.0}':
                    lost.append(answer.text)
                if answer.headers.get("Connection") == "close":
                    told.append(count)
                    return

    callers = [threading.Thread(target=call) for _ in range(6)]
    for caller in callers:
        caller.start()
    ready.wait()
    endpoints.eventually(lambda: "access" in server.log.read_text())
    server.process.send_signal(signal.SIGTERM)
    # Whoever distributes calls learns that there should be no more, and those that come are answered.
    endpoints.eventually(lambda: requests.get(f"{server.url}/readyz", timeout=5).status_code == 503)
    assert endpoints.call(server.url).ok
    for caller in callers:
        caller.join()
    assert server.process.wait(20) == 0
    assert lost == []
    assert len(told) == 6
    assert min(told) > 1


def test_a_signal_as_soon_as_calls_are_answered_is_heard(package: BuiltPackage, tmp_path: Path) -> None:
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        server = Server(package, folder)
        assert endpoints.call(server.url).ok
        assert server.stop() == 0


def test_a_port_that_is_taken_is_not_shared(server: Server, package: BuiltPackage) -> None:
    command = [sys.executable, f"{package.reference}/run.py", "--port", server.url.rpartition(":")[2]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "cannot be used" in done.stderr


def test_others_are_answered_while_predictions_are_slow(server: Server) -> None:
    slow = [threading.Thread(target=endpoints.call, args=(server.url, {"sleep": 1.0})) for _ in range(8)]
    for caller in slow:
        caller.start()
    for _ in range(20):
        assert requests.get(f"{server.url}/healthz", timeout=0.5).ok
        assert requests.post(
            server.url, json=endpoints.ROW, headers={"apikey": endpoints.KEY}, timeout=0.5
        ).ok
    assert all(caller.is_alive() for caller in slow)
    for caller in slow:
        caller.join()


def test_numbers_of_the_calls_are_there_without_a_key(server: Server) -> None:
    assert endpoints.call(server.url).ok
    text = requests.get(f"{server.url}/metrics", timeout=5).text
    assert 'a360_requests_total{status="200"}' in text
    assert "iris-forest-1-0" in text


def test_the_script_gets_the_model_and_the_baseline(
    bundle: BuiltPackage, tmp_path: Path, repository: Path
) -> None:
    manifest = json.loads(Path(bundle.reference, "a360.json").read_text())
    assert manifest["script"] == "script/predict.py"
    assert manifest["call_function"] == "predict"
    baseline = json.loads(Path(bundle.reference, "artifacts", "baseline.json").read_text())
    assert list(baseline) == list(endpoints.ROW)


@pytest.mark.row("F359")
def test_only_the_package_and_the_standard_library_can_be_imported(bundle: BuiltPackage) -> None:
    site = Path(bundle.reference, "site")
    assert (site / "onnxruntime").is_dir()
    for name in ("sklearn", "pandas", "skl2onnx", "traitlets", "a360_hub_service"):
        assert not (site / name).exists()
    probe = "import runpy, sys; sys.argv = ['run.py', '--help']\n" + (
        f"try: runpy.run_path({bundle.reference + '/run.py'!r}, run_name='__main__')\n"
        "except SystemExit: pass\nimport importlib.util, json\n"
        "found = [n for n in ('sklearn', 'traitlets', 'pip', 'pandas') if importlib.util.find_spec(n)]\n"
        "print(json.dumps([found, sys.path[-1]]), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", probe], capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stderr.splitlines()[-1]) == [[], str(site)]


def test_threads_follow_the_limit(bundle: BuiltPackage, tmp_path: Path) -> None:
    server = Server(bundle, tmp_path, A360_THREADS="3")
    try:
        assert endpoints.call(server.url, {"environment": "OMP_NUM_THREADS"}).json() == {"prediction": "3"}
    finally:
        server.stop()


def test_validation_prints_the_answer_and_nothing_else(bundle: BuiltPackage, tmp_path: Path) -> None:
    body = tmp_path / "input.json"
    body.write_text(json.dumps(endpoints.ROW))
    command = [sys.executable, f"{bundle.reference}/run.py", "--validate", str(body)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, '{"prediction": 0.0}')
    body.write_text("{")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "not JSON" in done.stderr.splitlines()[-1]


def test_the_model_answers_as_the_session_does(server: Server) -> None:
    rows = np.array([[6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]])
    native = endpoints.train().predict(rows)
    for row, expected in zip(rows, native, strict=True):
        body = dict(zip(endpoints.ROW, row.tolist(), strict=True))
        assert endpoints.call(server.url, body).json() == {"prediction": expected}
