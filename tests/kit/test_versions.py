"""Versions of data repos from a notebook: in a folder and in a bucket, on both databases."""

import contextlib
import secrets
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from a360mdk import A360AI, DataRepo
from a360mdk.exceptions import DataRepoError, DatasetError, FileSystemError
from a360mdk.writing import PART, content_key
from tests.kit.conftest import Workspace
from tests.kit.s3_repo import use_bucket
from tests.support.s3 import S3Server, moto_server, real_server

ONE = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
TWO = pd.DataFrame({"a": [3, 4, 5], "b": ["x", "y", "z"]})


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with moto_server() as server:
        yield server


class Repo:
    """The default data repo of a workspace, and how other tools reach it."""

    def __init__(self, workspace: Workspace, server: S3Server | None) -> None:
        self.ai, self.workspace, self.server = workspace.ai, workspace, server
        self.bucket = use_bucket(workspace, server) if server else ""

    def foreign_write(self, key: str, content: bytes) -> None:
        if self.server:
            self.server.client().put_object(Bucket=self.bucket, Key=key, Body=content)
        else:
            path = self.workspace.repo_folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def foreign_read(self, key: str) -> bytes:
        if self.server:
            return bytes(self.server.client().get_object(Bucket=self.bucket, Key=key)["Body"].read())
        return (self.workspace.repo_folder / key).read_bytes()

    def foreign_delete(self, key: str) -> None:
        if self.server:
            self.server.client().delete_object(Bucket=self.bucket, Key=key)
        else:
            (self.workspace.repo_folder / key).unlink()

    def contents(self) -> list[str]:
        """The keys of all contents that are kept."""
        if self.server:
            found = self.server.client().list_objects_v2(Bucket=self.bucket, Prefix=".a360/")
            return [item["Key"] for item in found.get("Contents", ())]
        return [name for name in self.workspace.files() if name.startswith(".a360/")]


@pytest.fixture(params=["folder", "moto", pytest.param("real", marks=pytest.mark.s3)])
def repo(request: pytest.FixtureRequest, workspace: Workspace) -> Repo:
    if request.param == "folder":
        return Repo(workspace, None)
    server = request.getfixturevalue("moto") if request.param == "moto" else real_server()
    if server is None:
        pytest.skip("A360_TEST_S3_ENDPOINT names no server")
    return Repo(workspace, server)


@pytest.mark.row("F221", "M029", "M031")
def test_every_write_is_a_commit_and_can_be_loaded_again(repo: Repo) -> None:
    ai = repo.ai
    assert ai.list_commits().empty
    ai.write_dataset(ONE, "deep/x.csv", message="first")
    ai.write_dataset(TWO, "deep/x.csv", overwrite=True)
    ai.write_dataset(ONE, "y.parquet")
    ai.delete_dataset("y.parquet")
    log = ai.list_commits()
    assert list(log.kind) == ["delete", "write", "write", "write"]
    assert list(log["keys"])[-1] == ["deep/x.csv"]
    assert (log.message.iloc[-1], log.created_by.iloc[-1]) == ("first", "scientist")
    first, second = ai.list_commits("deep/x.csv").id[::-1]
    pd.testing.assert_frame_equal(ai.load_dataset("deep/x.csv", at=first), ONE)
    pd.testing.assert_frame_equal(ai.load_dataset("deep/x.csv", at=second[:8]), TWO)
    pd.testing.assert_frame_equal(ai.load_dataset("deep/x.csv"), TWO)
    assert list(ai.list_datasets("deep").base_name) == ["x.csv"]
    # Plain keys are plain files.
    assert repo.foreign_read("deep/x.csv").decode() == TWO.to_csv(index=False)
    with pytest.raises(DatasetError, match="no commit, branch or tag"):
        ai.load_dataset("deep/x.csv", at="nowhere")
    with pytest.raises(DatasetError, match=r"no file “y\.parquet” as of"):
        ai.load_dataset("y.parquet", at="main")
    assert list(ai.list_datasets(at=first).base_name) == ["deep"]
    full = ai.list_datasets("deep", at=first, full=True)
    assert (full.base_name[0], full.commit_id[0], full["size"][0]) == ("x.csv", first, 12)
    ai.get_file("deep/x.csv", "old.csv", at=first)
    assert (repo.workspace.home / "old.csv").read_text() == ONE.to_csv(index=False)


@pytest.mark.row("F221")
def test_branches_tags_comparisons_and_restoring(repo: Repo) -> None:
    ai = repo.ai
    ai.write_dataset(ONE, "x.csv")
    ai.write_dataset(ONE, "same.csv")
    ai.create_tag("v1")
    ai.create_branch("try", at="v1")
    kept = repo.contents()
    assert len(kept) == 1  # both files are the same content, kept once, and the branch has no copy
    ai.write_dataset(TWO, "x.csv", branch="try", overwrite=True)
    ai.write_dataset(TWO, "new/z.json", branch="try")
    with pytest.raises(DatasetError, match="exists already on the branch"):
        ai.write_dataset(TWO, "new/z.json", branch="try")
    pd.testing.assert_frame_equal(ai.load_dataset("x.csv"), ONE)
    pd.testing.assert_frame_equal(ai.load_dataset("x.csv", at="try"), TWO)
    pd.testing.assert_frame_equal(ai.load_dataset("same.csv", at="try"), ONE)
    assert list(ai.list_datasets().base_name) == ["same.csv", "x.csv"]
    difference = ai.compare_commits("v1", "try")
    assert dict(zip(difference.key, difference.change, strict=True)) == {
        "new/z.json": "added",
        "x.csv": "changed",
    }
    assert set(ai.compare_commits("try", "main").change) == {"deleted", "changed"}
    assert list(ai.list_branches().name) == ["main", "try"]
    # Bring the branch into main, and take it back.
    made = ai.restore("try", message="looks good")
    pd.testing.assert_frame_equal(ai.load_dataset("x.csv"), TWO)
    assert repo.foreign_read("new/z.json")
    assert ai.list_commits(limit=1).id[0] == made
    assert ai.restore("try") == made  # nothing left to do
    ai.restore("v1", "x.csv")
    pd.testing.assert_frame_equal(ai.load_dataset("x.csv"), ONE)
    ai.restore("v1", ["new"])
    assert not ai.filesystem.is_file("new/z.json")
    assert ai.compare_commits("v1").empty
    with pytest.raises(DataRepoError, match="neither a file nor a folder"):
        ai.restore("v1", "nothing.csv")
    ai.delete_branch("try")
    ai.delete_tag("v1")
    assert list(ai.list_branches().name) == ["main"]
    assert ai.list_tags().empty
    with pytest.raises(DataRepoError, match="what the files"):
        ai.delete_branch("main")
    for name in ("main", "0123456789ab", "a b"):
        with pytest.raises(DataRepoError):
            ai.create_branch(name)


@pytest.mark.row("F221", "F219")
def test_what_other_tools_do_is_noticed_and_taken_in(repo: Repo) -> None:
    ai = repo.ai
    ai.write_dataset(ONE, "mine.csv")
    ai.write_dataset(ONE, "gone.csv")
    assert ai.data_changes().empty
    repo.foreign_write("mine.csv", b"a\n9\n")
    repo.foreign_write("raw/theirs.csv", b"a\n7\n")
    repo.foreign_write("Projects/p/artifact", b"1")
    repo.foreign_delete("gone.csv")
    found = ai.data_changes()
    assert dict(zip(found.key, found.change, strict=True)) == {
        "gone.csv": "deleted",
        "mine.csv": "changed",
        "raw/theirs.csv": "added",
    }
    with pytest.raises(DataRepoError, match="changed by another tool"):
        ai.restore(ai.list_commits().id.iloc[-1])
    assert list(ai.load_dataset("mine.csv").a) == [9]
    # What was committed is still there, though the file was overwritten in its place.
    pd.testing.assert_frame_equal(ai.load_dataset("mine.csv", at="main"), ONE)
    made = ai.take_in(message="from the sensors")
    assert ai.data_changes().empty
    assert ai.take_in() is None
    log = ai.list_commits(limit=1)
    assert (log.id[0], log.kind[0], log.change_count[0]) == (made, "take-in", 3)
    assert list(ai.load_dataset("raw/theirs.csv", at=made).a) == [7]
    repo.foreign_write("mine.csv", b"a\n9\n")  # touched, not changed
    ai.take_in()
    assert ai.data_changes().empty
    assert ai.list_commits(limit=1).id[0] == made


@pytest.mark.row("F221", "M144")
def test_a_run_keeps_what_it_read(repo: Repo) -> None:
    ai = repo.ai
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"x": random.normal(size=60), "z": random.normal(size=60)})
    frame["y"] = (frame.x > 0).astype(int)
    ai.write_dataset(frame, "train")
    repo.foreign_write("extra.csv", b"a\n1\n")
    train = ai.load_dataset("train.parquet")
    commit = ai.list_commits(limit=1).id[0]
    ai.write_dataset(frame.head(30), "train", overwrite=True)
    model = ai.get_or_create_model("m")
    experiment = model.get_or_create_experiment("e", "sklearn", train[["x", "z"]], train.y)
    with experiment.run_experiment() as run:
        run.log_model(LogisticRegression().fit(train[["x", "z"]], train.y))
    assert run.dataset == f"train.parquet@{commit}"
    with experiment.run_experiment() as run:
        ai.load_dataset("extra.csv")
        run.log_metrics({"score": 1})
    with experiment.run_experiment() as run:
        run.dataset = "my own words"
    listed = list(experiment.list_runs().dataset)
    both = f"train.parquet@{commit}, extra.csv@uncommitted"
    assert listed == [f"train.parquet@{commit}", both, "my own words"]
    name, at = listed[0].split("@")
    pd.testing.assert_frame_equal(ai.load_dataset(name, at=at), frame)


@pytest.mark.row("F221")
def test_writers_at_the_same_time_all_have_their_commit(repo: Repo) -> None:
    writers, rounds = 4, 3
    frames = {n: pd.DataFrame({"writer": [n] * 1000}) for n in range(writers)}
    barrier = threading.Barrier(writers)

    def write(number: int) -> None:
        ai = A360AI()
        barrier.wait()
        for _ in range(rounds):
            ai.write_dataset(frames[number], "shared.csv", overwrite=True)

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, range(writers)))
    log = repo.ai.list_commits("shared.csv")
    assert len(log) == writers * rounds
    seen = [int(repo.ai.load_dataset("shared.csv", at=at).writer.unique().item()) for at in log.id]
    assert sorted(seen) == sorted(list(range(writers)) * rounds)
    # The file is what the last commit says.
    assert repo.ai.data_changes().empty
    assert repo.foreign_read("shared.csv").decode() == frames[seen[0]].to_csv(index=False)
    first = f"only-{secrets.token_hex(4)}.csv"
    outcomes = []
    for number in range(2):
        try:
            repo.ai.write_dataset(frames[number], first)
            outcomes.append("written")
        except DatasetError:
            outcomes.append("refused")
    assert outcomes == ["written", "refused"]


def test_a_content_is_sent_and_kept_once(repo: Repo) -> None:
    ai = repo.ai
    big = pd.DataFrame({"x": np.random.default_rng(1).normal(size=2_000_000)})
    ai.write_dataset(big, "big")
    kept = repo.contents()
    ai.write_dataset(big, "again")
    assert repo.contents() == kept
    assert repo.foreign_read("again.parquet") == repo.foreign_read("big.parquet")
    (entry,) = [key for key in kept if key.startswith(".a360/objects/")]
    assert entry == content_key(entry.rpartition("/")[2])
    ai.restore(ai.list_commits().id.iloc[-1])
    assert repo.contents() == kept


def test_a_folder_gets_its_copy_from_the_kit(workspace: Workspace) -> None:
    ai, folder = workspace.ai, workspace.repo_folder
    with ai.datarepo.filesystem.content_writer("x.bin") as content:
        content.sink.write(b"x" * 10_000_000)
        said = content.keep()
        copy = folder / PART / f"{said['prepared']}{PART}"
        number = copy.stat().st_ino
        ai.datarepo._send_commit("write", [{"key": "x.bin", **said}])
    assert (folder / "x.bin").stat().st_ino == number
    assert (folder / "x.bin").read_bytes() == (folder / content_key(said["sha256"])).read_bytes()
    assert list((folder / PART).iterdir()) == []
    with contextlib.suppress(RuntimeError), ai.datarepo.committing("y.bin", overwrite=True) as sink:
        sink.write(b"y" * 10_000_000)
        raise RuntimeError
    assert list((folder / PART).iterdir()) == []
    assert not (folder / "y.bin").exists()


def test_a_file_is_read_though_what_is_kept_was_removed(workspace: Workspace) -> None:
    ai = workspace.ai
    ai.write_dataset(ONE, "x.csv")
    shutil.rmtree(workspace.repo_folder / ".a360")
    pd.testing.assert_frame_equal(ai.load_dataset("x.csv"), ONE)
    with pytest.raises(FileSystemError, match="code 100"):
        ai.load_dataset("x.csv", at="main")


def test_a_data_repo_of_ones_own_has_no_versions(tmp_path: Any) -> None:
    mine = DataRepo(volume_name=str(tmp_path))
    mine.write_dataset(ONE, "x.csv")
    pd.testing.assert_frame_equal(mine.load_dataset("x.csv"), ONE)
    with pytest.raises(DataRepoError, match="no versions"):
        mine.list_commits()
    with pytest.raises(DatasetError, match="no versions"):
        mine.write_dataset(ONE, "x.csv", branch="try")
    mine.delete_dataset("x.csv")
    assert mine.list_datasets().empty
