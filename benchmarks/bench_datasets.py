"""Data sets against bare pyarrow on the same storage, lists of many runs, and the import of the kit.

Writing and loading a frame of 1 GB is done in turn by ``a360ai`` on a real service, with its commit, and
by pyarrow alone in the same folder, each time in a new process that does nothing else. The peak of memory is
that of the process while it writes or loads, with all that was there before. What is loaded was read through
just before, for the two read different files: else the state of the page cache is measured. ``--s3`` does
the same in a bucket of a simulated S3 server, which takes more time than either side.

    python benchmarks/bench_datasets.py [--rounds 5] [--megabytes 1000] [--runs 10000] [--s3]
"""

import argparse
import contextlib
import io
import json
import os
import re
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

COLUMNS = 10
KINDS = ("bare", "kit")


def frame(megabytes: int) -> Any:
    """Numbers of several kinds, most of which no encoding makes smaller."""
    import numpy as np
    import pandas as pd

    rows = megabytes * 1_000_000 // (COLUMNS * 8)
    random = np.random.default_rng(0)
    data = {f"f{n}": random.normal(size=rows) for n in range(COLUMNS - 2)}
    data["id"] = np.arange(rows)
    data["group"] = random.integers(0, 100, rows)
    return pd.DataFrame(data)


def memory(what: str) -> int:
    """Bytes of this process's resident memory: ``VmRSS`` now, ``VmHWM`` at most so far."""
    found = re.search(rf"^{what}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def measured(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds and peak memory of some work; what was written before it is on the disk by then."""
    os.sync()
    Path("/proc/self/clear_refs").write_text("5")
    started = time.perf_counter()
    kept = work()
    seconds = time.perf_counter() - started
    del kept
    return {"seconds": seconds, "memory": memory("VmHWM")}


def one(action: str, kind: str, megabytes: int) -> dict[str, float]:
    """Write or load once, in this process."""
    import pyarrow
    import pyarrow.parquet

    from a360mdk import A360AI

    ai = A360AI()
    filesystem = ai.filesystem
    key = f"{kind}.parquet"
    path = filesystem.path(key)
    if action == "load":
        if kind == "kit":
            return measured(lambda: ai.load_dataset(key))
        return measured(lambda: pyarrow.parquet.read_table(path, filesystem=filesystem.arrow).to_pandas())
    data = frame(megabytes)
    if kind == "kit":
        # Another content each time, or there would be nothing to send.
        data.loc[0, "f0"] = time.time()
        return measured(lambda: ai.write_dataset(data, key, overwrite=True))
    return measured(
        lambda: pyarrow.parquet.write_table(
            pyarrow.Table.from_pandas(data), path, filesystem=filesystem.arrow
        )
    )


def elsewhere(*arguments: str) -> Any:
    """What this program prints in a process of its own."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def read_through(folder: Path) -> None:
    """Have every file below `folder` in the page cache."""
    block = bytearray(1 << 20)
    for path in (path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb", buffering=0) as file:
            while file.readinto(block):
                continue


def compare(folder: Path, megabytes: int, rounds: int) -> None:
    """Print the ratios of writing and loading on a platform that keeps its files in `folder`."""
    for action in ("write", "load"):
        taken: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
        for number in range(rounds + 1):
            for kind in KINDS if number % 2 else reversed(KINDS):
                if action == "load":
                    read_through(folder)
                found = elsewhere("--one", action, kind, "--megabytes", str(megabytes))
                if number:  # the first round fills caches
                    taken[kind].append(found)
        for what, unit, aim in (("seconds", "s", 1.3), ("memory", "MB", 1.2)):
            scale = 1e6 if unit == "MB" else 1.0
            bare, kit = (statistics.median(one[what] for one in taken[kind]) / scale for kind in KINDS)
            both = f"bare pyarrow {bare:8.2f} {unit}, a360ai {kit:8.2f} {unit}"
            print(f"{action:5} {megabytes} MB, {what:8} {both}, ratio {kit / bare:.2f} x (aim {aim})")


def list_many(service: Any, ai: Any, count: int) -> None:
    """Print how long it takes to list many runs."""
    import numpy as np

    from a360_hub_service.entities import Artifact, Run, new_id

    features = np.zeros((3, 2))
    model = ai.get_or_create_model("many")
    with contextlib.redirect_stdout(io.StringIO()):
        experiment = model.get_or_create_experiment("runs", "sklearn", features, np.zeros(3))
    database, repo_id, now = service.database(), ai.datarepo.id, datetime.now(UTC)
    with database.session() as session:
        for number in range(count):
            run_id = new_id()
            run = Run(
                id=run_id,
                experiment_id=experiment.id,
                status="finished",
                hyperparameters={"depth": number % 9, "rate": 0.1},
                metrics={"score": number / count, "loss": 0.3},
                run_metadata={"run_time": 1.25},
                dataset=f"X.parquet@{new_id()}",
                data_repo_id=repo_id,
                artifact_prefix=f"Projects/p/m/1/{run_id}",
                created_by="scientist",
                started_at=now,
                ended_at=now,
            )
            for name in ("trained_model", "trained_model_native", "baseline"):
                key = f"{run.artifact_prefix}/{name}"
                run.artifacts.append(Artifact(name=name, kind="model", file_key=key, size=1, sha256="0" * 64))
            session.add(run)
    database.close()
    seconds = []
    for _ in range(4):
        started = time.perf_counter()
        found = experiment.list_runs()
        seconds.append(time.perf_counter() - started)
        assert len(found) == count
    print(f"list_runs of {count:,}: {statistics.median(seconds[1:]):.2f} s (aim 1)")


def imports() -> None:
    """Print how long an import of the kit takes, above a bare interpreter."""

    def best(code: str) -> float:
        taken = []
        for _ in range(5):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            taken.append(time.perf_counter() - started)
        return min(taken)

    bare, kit = best("pass"), best("import a360mdk; a360mdk.A360AI()")
    print(f"import a360mdk: {kit - bare:.3f} s (aim 0.3); a bare interpreter takes {bare:.3f} s")


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--s3", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(*given.one, given.megabytes)))
        return
    from a360mdk import A360AI
    from tests.support.s3 import REGION, moto_server
    from tests.support.service import ServiceProcess, project_form

    with (
        tempfile.TemporaryDirectory() as folder,
        moto_server() if given.s3 else contextlib.nullcontext() as server,
    ):
        os.environ["HOME"] = folder
        service = ServiceProcess(Path(folder) / "platform").start()
        try:
            form = project_form("Benchmark", "benchmark-data")
            if server:
                credential = {
                    "name": "S3",
                    "description": "Benchmark",
                    "groups": ["Data Scientists"],
                    "inputs": server.inputs(),
                }
                with service.client("admin") as admin:
                    account = admin.post("/credentials", json=credential).json()["id"]
                form["data_repo"] |= {
                    "volume_account": account,
                    "volume_name": f"bench-{secrets.token_hex(4)}",
                    "volume_region": REGION,
                }
            with service.client("scientist") as client:
                project = client.post("/projects", json=form).json()
            os.environ |= {
                "A360_API_URL": service.api_url,
                "A360_PROJECT_ID": project["id"],
                "JUPYTERHUB_API_TOKEN": "test-scientist",
            }
            imports()
            list_many(service, A360AI(), given.runs)
            if given.rounds:
                compare(Path(folder), given.megabytes, given.rounds)
        finally:
            service.stop()


if __name__ == "__main__":
    main()
