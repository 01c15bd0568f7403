"""What is left when something dies half-way: nothing corrupt, nothing lost that was acknowledged.

The kernels here are processes of their own, which are killed; the network is a proxy that is cut.
"""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from a360_hub_service.backends.storage.keys import PART
from a360_hub_service.services.leases import ABANDONED
from a360mdk import A360AI
from a360mdk.exceptions import DatasetError, FileSystemError, RunError
from tests.kit.conftest import Workspace, make_workspace
from tests.kit.s3_repo import use_bucket
from tests.support.cutter import Cutter, cutter
from tests.support.guarded_s3 import Guarded, guarded_server
from tests.support.s3 import moto_server
from tests.support.service import ROOT, ServiceProcess, wait_for

LEASE = 2
Table = tuple[pd.DataFrame, "pd.Series[Any]"]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def impatient(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    """A service that soon gives up on runs without a heartbeat."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgresql").new_database()
    running = ServiceProcess(
        tmp_path_factory.mktemp(f"impatient-{request.param}"),
        database_url=url,
        config=f"c.A360HubService.run_lease_seconds = {LEASE}",
    ).start()
    yield running
    running.stop()


@pytest.fixture
def soon(impatient: ServiceProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    made = make_workspace(impatient, tmp_path / "home", monkeypatch)
    yield made
    made.close()


class Kernel:
    """A Python process with the environment of a workspace, running some blocks of lines."""

    def __init__(self, *blocks: str) -> None:
        text = "import time\nimport numpy as np\nimport pandas as pd\nfrom a360mdk import A360AI\n"
        text += "a360ai = A360AI()\n" + "".join(textwrap.dedent(block) for block in blocks)
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", text], env=env, stdout=subprocess.PIPE, text=True
        )

    def line(self, starting: str = "") -> str:
        """The next line it prints that starts so; empty at the end."""
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith(starting):
                return line.strip()
        return ""

    def kill(self) -> list[str]:
        """SIGKILL; what it had printed that nobody read."""
        self.process.kill()
        rest, _ = self.process.communicate()
        return rest.splitlines()


EXPERIMENT = """
    from sklearn.linear_model import LogisticRegression
    X, y = np.random.default_rng(0).normal(size=(60, 2)), np.r_[np.zeros(30), np.ones(30)]
    experiment = a360ai.get_or_create_model("m").get_or_create_experiment("e", "sklearn", X, y)
"""


def an_experiment(ai: A360AI) -> Any:
    features, target = np.zeros((60, 2)), np.r_[np.zeros(30), np.ones(30)]
    return ai.get_or_create_model("m").get_or_create_experiment("e", "sklearn", features, target)


def artifacts(workspace: Workspace) -> list[str]:
    return [name for name in workspace.files() if name.startswith("Projects/")]


def state(workspace: Workspace, run_id: str) -> dict[str, Any]:
    return dict(workspace.client.get(f"/runs/{run_id}").json())


def has_ended(workspace: Workspace, run_id: str) -> dict[str, Any]:
    """The run, once it is not running any more."""
    found = state(workspace, run_id)
    return {} if found["status"] == "running" else found


# Runs


@pytest.mark.row("M054", "M068", "M144")
def test_a_kernel_killed_in_a_run_leaves_a_failed_run(soon: Workspace) -> None:
    kernel = Kernel(
        EXPERIMENT,
        """
    with experiment.run_experiment() as run:
        run.log_metrics({"score": 1})
        run.log_model(LogisticRegression().fit(X, y))
        print("run", run.id, flush=True)
        time.sleep(600)
    """,
    )
    run_id = kernel.line("run ").split()[1]
    assert state(soon, run_id)["status"] == "running"
    kernel.kill()
    ended = wait_for(lambda: has_ended(soon, run_id))
    assert (ended["status"], ended["error"], ended["artifacts"]) == ("failed", ABANDONED, [])
    assert artifacts(soon) == []
    experiment = an_experiment(soon.ai)
    assert experiment.list_runs().empty
    assert list(experiment.list_runs(include_failed=True).error) == [ABANDONED]


@pytest.mark.long
@pytest.mark.row("M064", "M065", "M068")
def test_a_kernel_killed_while_a_run_closes_leaves_all_or_nothing(soon: Workspace) -> None:
    for files in range(3):
        kernel = Kernel(
            EXPERIMENT,
            """
            with experiment.run_experiment() as warm:
                warm.log_model(LogisticRegression().fit(X, y))
            with experiment.run_experiment() as run:
                run.log_model(LogisticRegression().fit(X, y))
                print("run", run.id, flush=True)
            time.sleep(600)
            """,
        )
        run_id = kernel.line("run ").split()[1]
        folder = soon.repo_folder / state(soon, run_id)["artifact_prefix"]
        wait_for(lambda folder=folder, files=files: len(list(folder.glob("[!.]*"))) >= files)
        kernel.kill()
        ended = wait_for(lambda run_id=run_id: has_ended(soon, run_id))
        if ended["status"] == "failed":
            assert ended["artifacts"] == []
        for artifact in ended["artifacts"]:
            assert (soon.repo_folder / artifact["file_key"]).stat().st_size == artifact["size"]


@pytest.mark.row("M054", "M068")
def test_a_kernel_that_only_slept_closes_its_run(soon: Workspace) -> None:
    kernel = Kernel(
        EXPERIMENT,
        """
    with experiment.run_experiment() as run:
        print("run", run.id, flush=True)
        time.sleep(0.5)
        run.log_model(LogisticRegression().fit(X, y))
    print("closed", run.status, flush=True)
    """,
    )
    run_id = kernel.line("run ").split()[1]
    os.kill(kernel.process.pid, signal.SIGSTOP)
    wait_for(lambda: state(soon, run_id)["status"] == "failed", message="it still counts as running")
    os.kill(kernel.process.pid, signal.SIGCONT)
    assert kernel.line("closed") == "closed finished"
    kernel.kill()
    ended = state(soon, run_id)
    assert (ended["status"], ended["error"], len(ended["artifacts"])) == ("finished", None, 2)


@pytest.fixture
def cut(soon: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Workspace, A360AI, Cutter]]:
    """A workspace whose way to the service can be cut, and its object that goes that way."""
    with cutter(soon.service.port) as proxy:
        url = soon.service.api_url.replace(f":{soon.service.port}/", f":{proxy.port}/")
        yield soon, A360AI(api_url=url), proxy


@pytest.mark.row("M058", "M068", "M172")
def test_a_network_cut_while_a_model_is_logged(cut: tuple[Workspace, A360AI, Cutter]) -> None:
    workspace, ai, proxy = cut
    experiment = an_experiment(ai)
    fitted = LogisticRegression().fit(
        np.random.default_rng(0).normal(size=(60, 2)), np.r_[[0] * 30, [1] * 30]
    )
    run = experiment.run_experiment()

    def log_and_lose_the_network() -> None:
        with run:
            run.log_model(fitted)
            proxy.cut()

    with pytest.raises(RunError) as refused:
        log_and_lose_the_network()
    assert "service" in str(refused.value)
    assert refused.value.hint
    ended = wait_for(lambda: has_ended(workspace, run.id))
    assert (ended["status"], ended["artifacts"]) == ("failed", [])
    proxy.mend()
    with experiment.run_experiment() as again:
        again.log_model(fitted)
    assert list(experiment.list_runs().id) == [again.id]


@pytest.mark.row("M068")
def test_a_lost_answer_to_the_close_of_a_run_is_asked_for_again(
    cut: tuple[Workspace, A360AI, Cutter],
) -> None:
    workspace, ai, proxy = cut
    experiment = an_experiment(ai)
    with experiment.run_experiment() as run:
        run.log_metrics({"score": 1})
        run._heartbeat.stop()  # so that it is the answer to the close that is lost
        proxy.lose_answer()
    assert proxy.answers_lost == 1
    assert state(workspace, run.id)["status"] == "finished"


# Data sets


@pytest.mark.row("M029", "M167", "F221")
def test_a_network_cut_while_a_data_set_is_written(cut: tuple[Workspace, A360AI, Cutter]) -> None:
    workspace, ai, proxy = cut
    old, new = pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})
    ai.write_dataset(old, "x.csv")
    repo = ai.datarepo
    assert repo.filesystem
    proxy.cut()
    with pytest.raises(DatasetError, match=r"Nothing was changed|not known whether") as refused:
        repo.write_dataset(new, "x.csv", overwrite=True)
    assert refused.value.why
    assert (workspace.repo_folder / "x.csv").read_text() == "a\n1\n"
    # What is there can be read while the service is away.
    assert list(repo.load_dataset("x.csv").a) == [1]
    proxy.mend()
    assert len(workspace.ai.list_commits("x.csv")) == 1
    proxy.lose_answer()
    repo.write_dataset(new, "x.csv", overwrite=True)
    assert proxy.answers_lost == 1
    assert len(workspace.ai.list_commits("x.csv")) == 2  # asked twice, made once
    assert list(workspace.ai.load_dataset("x.csv").a) == [2]


def all_commits(ai: A360AI) -> Any:
    """The commits of the shared data set, once none is under way any more."""
    before = ai.list_commits("shared.parquet")
    settled = ai.data_changes().empty and len(ai.list_commits("shared.parquet")) == len(before)
    return before if settled else None


WRITER = """
    number = {number}
    frame = pd.DataFrame({{"writer": np.full(300_000, number), "round": 0}})
    print("ready", flush=True)
    for turn in range({rounds}):
        frame["round"] = turn
        a360ai.write_dataset(frame, "shared.parquet", overwrite=True)
        print("wrote", number, turn, flush=True)
"""


def whole(frame: pd.DataFrame) -> tuple[int, int]:
    """The one writer and round of a frame that is not a mixture."""
    assert len(frame) == 300_000
    return int(frame["writer"].unique().item()), int(frame["round"].unique().item())


@pytest.mark.row("M029", "F221")
@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_kernels_that_write_the_same_data_set_and_die(soon: Workspace, kind: str) -> None:
    with moto_server() as server:
        if kind == "bucket":
            use_bucket(soon, server)
        ai = soon.ai
        kernels = [Kernel(WRITER.format(number=number, rounds=500)) for number in range(2)]
        acknowledged = []
        for kernel in kernels:
            kernel.line("ready")
            acknowledged.append(kernel.line("wrote"))
            acknowledged.append(kernel.line("wrote"))
        acknowledged += [line for kernel in kernels for line in kernel.kill() if line.startswith("wrote")]
        written = {(int(line.split()[1]), int(line.split()[2])) for line in acknowledged}
        # A commit under way when its kernel died may still be made.
        log = wait_for(lambda: [found] if (found := all_commits(ai)) is not None else None)[0]
        seen = [whole(ai.load_dataset("shared.parquet", at=commit)) for commit in log.id]
        assert written <= set(seen)
        assert len(seen) == len(set(seen))
        for number in range(2):  # each kernel's commits are in the order it made them
            own = [turn for writer, turn in seen if writer == number]
            assert own == sorted(own, reverse=True)
        assert ai.data_changes().empty
        with ai.filesystem.get_object("shared.parquet") as plain:
            assert whole(pd.read_parquet(plain)) == seen[0]
        ai.write_dataset(pd.DataFrame({"a": [1]}), "after.csv")
    if kind == "folder":
        # What the kernels were writing is swept away by whoever writes later.
        staged = soon.repo_folder / PART
        for path in staged.iterdir():
            os.utime(path, (1, 1))
        soon.client.put(f"/data-repos/{ai.datarepo.id}/files/later", content=b"1").raise_for_status()
        assert list(staged.iterdir()) == []


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    with guarded_server() as server:
        yield server


@pytest.mark.row("M158", "M167", "M169", "F221")
def test_credentials_revoked_while_a_data_set_is_written(soon: Workspace, guarded: Guarded) -> None:
    bucket = use_bucket(soon, guarded.user)
    ai = soon.ai
    ai.write_dataset(pd.DataFrame({"a": [1]}), "x.csv")
    repo = ai.datarepo

    def write_half_then_the_rest() -> None:
        with repo.committing("x.csv", overwrite=True) as sink:
            sink.write(b"a\n")
            guarded.revoke()
            sink.write(b"2\n")

    with pytest.raises(FileSystemError, match="core 15") as refused:
        write_half_then_the_rest()
    assert "credential" in refused.value.hint
    with pytest.raises(FileSystemError, match="core 15"):
        repo.filesystem.list_bucket()
    with pytest.raises((FileSystemError, DatasetError)):
        repo.write_dataset(pd.DataFrame({"a": [3]}), "x.csv", overwrite=True)
    # Nothing changed: neither the file, nor what is kept, nor the commits.
    client = guarded.admin.client()
    assert client.get_object(Bucket=bucket, Key="x.csv")["Body"].read() == b"a\n1\n"
    kept = [item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert len(kept) == 2
    assert len(ai.list_commits()) == 1
