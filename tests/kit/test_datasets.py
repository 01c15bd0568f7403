"""Data sets and files of data repos, in a folder."""

import io
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.fs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from a360mdk import A360AI, DataRepo, FileSystem, tables
from a360mdk.exceptions import ConfigurationError, DatasetError, FileSystemError
from tests.kit.conftest import Workspace

FRAME = pd.DataFrame({"id": ["a", "b", "c"], "value": [1.5, 2.5, -1.0], "count": [1, 2, 3]})


@pytest.mark.row("M020", "M021", "M022", "M023")
def test_lists(workspace: Workspace) -> None:
    folder = workspace.repo_folder
    for name in ("rf.pkl", "net.h5", "a.npy", "README", "raw/x.csv", "Projects/p/model.onnx"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"12345")
    (folder / ".half.123.a360-part").write_bytes(b"")
    found = workspace.ai.list_datasets()
    assert list(found.columns) == ["base_name", "extension", "size"]
    assert list(found.base_name) == ["README", "a.npy", "net.h5", "raw", "rf.pkl"]
    assert dict(zip(found.base_name, found.extension, strict=True))["rf.pkl"] == "pkl"
    assert set(found[found.base_name != "raw"]["size"]) == {5}
    assert list(workspace.ai.list_datasets("raw").base_name) == ["x.csv"]
    assert "Projects" in list(workspace.ai.list_datasets(exclude_projects=False).base_name)
    assert list(workspace.ai.list_datasets("Projects/p").base_name) == ["model.onnx"]
    full = workspace.ai.list_datasets(full=True)
    columns = ["base_name", "extension", "size", "path", "type", "mtime", "file_info"]
    assert list(full.columns) == columns
    pd.testing.assert_frame_equal(full[columns[:3]], found)
    read = dict(zip(full.base_name, full.mtime, strict=True))["rf.pkl"]
    assert read.timestamp() == pytest.approx((folder / "rf.pkl").stat().st_mtime, abs=1e-3)
    assert full.file_info[0].base_name == full.base_name[0]
    assert isinstance(full.file_info[0], pyarrow.fs.FileInfo)
    assert dict(zip(full.base_name, full["type"], strict=True))["raw"] == "directory"
    with pytest.raises(FileSystemError, match="code 100"):
        workspace.ai.list_datasets("nowhere")


@pytest.mark.row("M025", "M026", "M029", "M030")
@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_frames_go_and_come_back(ai: A360AI, suffix: str) -> None:
    assert ai.write_dataset(FRAME, f"folder/f.{suffix}") is True
    pd.testing.assert_frame_equal(ai.load_dataset(f"folder/f.{suffix}"), FRAME)


@pytest.mark.row("M029", "M031")
def test_wild_names(ai: A360AI) -> None:
    assert ai.write_dataset(FRAME, "X", overwrite=True) is True
    assert ai.write_dataset(FRAME, "X", overwrite=True) is True
    assert list(ai.list_datasets().base_name) == ["X.parquet"]
    series = pd.Series([0, 1, 1], name="Churn", index=[7, 3, 9])
    assert ai.write_dataset(series, "y", overwrite=True) is True
    pd.testing.assert_frame_equal(ai.load_dataset("y.parquet"), series.to_frame())
    with pytest.raises(DatasetError, match=r"already has.*\n.*overwrite=True"):
        ai.write_dataset(FRAME.head(1), "X")
    assert len(ai.load_dataset("X.parquet")) == 3


@pytest.mark.row("M024")
def test_delete_takes_both_names(ai: A360AI) -> None:
    for call in ({"dataset": "a.csv"}, {"key": "a.csv"}):
        ai.write_dataset(FRAME, "a.csv")
        ai.delete_dataset(**call)
        assert ai.list_datasets().empty
    with pytest.raises(DatasetError, match="not in the data repo"):
        ai.delete_dataset("a.csv")
    ai.write_dataset(FRAME, "folder/a.csv")
    with pytest.raises(DatasetError, match="a folder"):
        ai.delete_dataset("folder")
    with pytest.raises(DatasetError):
        ai.delete_dataset()


@pytest.mark.row("M030")
@pytest.mark.parametrize(
    ("key", "wanted", "stored"),
    [
        ("a", None, "a.parquet"),
        ("a", "csv", "a.csv"),
        ("a.json", None, "a.json"),
        ("a.CSV", "csv", "a.CSV"),
        ("v1.2", None, "v1.2.parquet"),
        ("a.csv", "parquet", None),
        ("a.pkl", None, None),
        ("a.pkl", "csv", None),
        ("a", "xlsx", None),
    ],
)
def test_suffix_and_format(ai: A360AI, key: str, wanted: str | None, stored: str | None) -> None:
    if stored is None:
        with pytest.raises(DatasetError):
            ai.write_dataset(FRAME, key, wanted)
        assert ai.list_datasets().empty
    else:
        ai.write_dataset(FRAME, key, wanted)
        assert list(ai.list_datasets().base_name) == [stored]
        pd.testing.assert_frame_equal(ai.load_dataset(stored), FRAME)


@pytest.mark.row("M026", "M027", "M028")
def test_sources_and_targets(workspace: Workspace) -> None:
    ai = workspace.ai
    FRAME.to_excel(workspace.repo_folder / "sheet.xlsx", index=False)
    pd.testing.assert_frame_equal(ai.load_dataset("sheet.xlsx"), FRAME)
    (workspace.repo_folder / "rows").write_text('{"a": 1}\n{"a": 2}\n')
    assert list(ai.load_dataset("rows", source_format="json").a) == [1, 2]
    ai.write_dataset(FRAME, "f.csv")
    pd.testing.assert_frame_equal(ai.load_dataset("f.csv", index="id"), FRAME.set_index("id"))
    pd.testing.assert_frame_equal(ai.load_dataset("f.csv", "csv", "pandas", "id"), FRAME.set_index("id"))
    assert type(ai.load_dataset("f.csv")) is pd.DataFrame
    with pytest.raises(DatasetError, match="id, value, count"):
        ai.load_dataset("f.csv", index="nope")
    ai.write_dataset(FRAME[["value"]], "v")
    array = ai.load_dataset("v.parquet", target_format="numpy")
    assert isinstance(array, np.ndarray)
    assert array.tolist() == [[1.5], [2.5], [-1.0]]
    assert ai.load_dataset("f.csv", target_format="numpy").tolist() == FRAME.to_numpy().tolist()
    with pytest.raises(DatasetError, match="source_format"):
        ai.load_dataset("rows")
    with pytest.raises(DatasetError, match="numpy, pandas, torch"):
        ai.load_dataset("v.parquet", target_format="spark")
    torch_is_there = __import__("importlib.util").util.find_spec("torch") is not None
    if not torch_is_there:
        with pytest.raises(DatasetError, match="torch is not installed"):
            ai.load_dataset("v.parquet", target_format="torch")


def test_broken_files_are_clear_errors(workspace: Workspace) -> None:
    for name in ("bad.parquet", "bad.xlsx", "bad.json", "bad.csv"):
        (workspace.repo_folder / name).write_bytes(b'"a,b\n1,\xff2\n"x')
        with pytest.raises(DatasetError, match=f"{name} could not be read"):
            workspace.ai.load_dataset(name)
    with pytest.raises(DatasetError, match="not in the data repo"):
        workspace.ai.load_dataset("none.csv")


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    array=hnp.arrays(
        dtype=st.sampled_from([np.float64, np.float32, np.int64, np.int32, np.uint8, np.bool_]),
        shape=hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=6),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
def test_arrays_keep_values_and_types(tmp_path: Path, array: Any) -> None:
    repo = DataRepo(volume_name=str(tmp_path))
    repo.write_dataset(array, "x", overwrite=True)
    back = repo.load_dataset("x.parquet", target_format="numpy")
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array.reshape(len(array), -1))


def test_what_is_no_table_is_refused(ai: A360AI) -> None:
    for data in (np.zeros((2, 2, 2)), {"a": 1}, "text", np.float64(1)):
        with pytest.raises(DatasetError, match="cannot be written"):
            ai.write_dataset(data, "x")
    with pytest.raises(DatasetError, match="Several columns"):
        ai.write_dataset(pd.DataFrame([[1, 2]], columns=["a", "a"]), "x")
    with pytest.raises(DatasetError, match="parquet"):
        ai.write_dataset(pd.DataFrame({"a": [1, "x", b"y"]}), "x", overwrite=True)
    assert ai.list_datasets().empty


@pytest.mark.row("M032", "M033", "M034")
def test_remote_data_sets(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "remote.csv").write_text("a,b\n1,2\n3,4\n")
    handler = lambda *given: SimpleHTTPRequestHandler(*given, directory=str(tmp_path))  # noqa: E731
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    uri = f"http://127.0.0.1:{server.server_port}/remote.csv"
    ai = workspace.ai
    try:
        ai.write_remote_dataset(uri, "copy.csv")
        ai.write_remote_dataset(uri=uri, dataset="copy")
        assert (workspace.repo_folder / "copy.csv").read_text() == "a,b\n1,2\n3,4\n"
        ai.write_remote_dataset(uri, "named.parquet", header=0, names=["x", "y"])
        assert list(ai.load_dataset("named.parquet").columns) == ["x", "y"]
        ai.write_remote_dataset(uri, "raw.csv", header=None)
        assert len(ai.load_dataset("raw.csv")) == 3
        ai.write_remote_dataset((tmp_path / "remote.csv").as_uri(), "local.csv")
        with pytest.raises(DatasetError, match="404"):
            ai.write_remote_dataset(uri + "x", "missing.csv")
        with pytest.raises(DatasetError, match="already has"):
            ai.write_remote_dataset(uri, "copy.csv", overwrite=False)
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(DatasetError, match="could not be read"):
        ai.write_remote_dataset(uri, "gone.csv")
    assert "gone.csv" not in list(ai.list_datasets().base_name)


class _HangsUp(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"a,b\n1,2\n")

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.mark.row("M032")
def test_a_remote_data_set_that_breaks_off_is_not_stored(workspace: Workspace) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _HangsUp)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(DatasetError, match="could not be read"):
            workspace.ai.write_remote_dataset(f"http://127.0.0.1:{server.server_port}/half.csv", "half.csv")
    finally:
        server.shutdown()
        server.server_close()
    assert "half.csv" not in list(workspace.ai.list_datasets().base_name)


def test_files_are_copied_to_the_current_folder_or_home(workspace: Workspace) -> None:
    content = np.random.default_rng(0).bytes(9_000_000)
    (workspace.repo_folder / "rf_model.pkl").write_bytes(content)
    (workspace.repo_folder / "model.json").write_text("{}")
    workspace.ai.get_object("rf_model.pkl")
    workspace.ai.get_file("model.json")
    assert (workspace.home / "rf_model.pkl").read_bytes() == content
    assert (workspace.home / "model.json").read_text() == "{}"
    workspace.ai.get_file("model.json", "/home/jovyan/deep/other.json")
    assert (workspace.home / "deep" / "other.json").is_file()
    with pytest.raises(DatasetError, match="list_datasets"):
        workspace.ai.get_file("nothing.bin")


def test_large_transfers_show_progress(workspace: Workspace, capsys: Any) -> None:
    filesystem = workspace.ai.filesystem
    big = workspace.home / "big.bin"
    with big.open("wb") as file:
        file.truncate(20_000_000)
    filesystem.write_file_to_remote("/home/jovyan/big.bin", "big.bin", {})
    filesystem.write_file_from_remote("big.bin", "back.bin")
    shown = capsys.readouterr().err
    assert "Upload big.bin" in shown
    assert "Download big.bin" in shown
    (workspace.home / "small.bin").write_bytes(b"1")
    filesystem.write_file_to_remote("small.bin", "small.bin")
    assert capsys.readouterr().err == ""


@pytest.mark.row(
    "M146", "M147", "M148", "M149", "M150", "M151", "M152", "M153", "M154", "M155", "M156", "M157"
)
@pytest.mark.row("M159", "M160", "M161")
def test_the_file_system(tmp_path: Path) -> None:
    fs = FileSystem("local", str(tmp_path))
    assert (fs.local, fs.bucket, fs.storage_provider) == (True, str(tmp_path), "local")
    assert (fs.access_key, fs.secret_access_key, fs.region, fs.account) == (None,) * 4
    assert list(fs.file_types) == ["target does not exist", "unknown", "file", "directory"]
    fs.create_dir("a/b")
    fs.write_dataset(FRAME, "a/b/f.parquet")
    assert fs.get_file_info("a/b/f.parquet")["base_name"] == "f.parquet"
    assert fs.get_file_info("nothing")["type"] == "target does not exist"
    with fs.get_object("a/b/f.parquet") as opened:
        assert pd.read_parquet(io.BytesIO(opened.read())).equals(FRAME)
    assert list(fs.list_bucket("", recursive=True).base_name) == ["a", "b", "f.parquet"]
    fs.delete_file("a/b/f.parquet")
    fs.write_dataset(np.ones(3), "a/b/g.csv", target_format="csv")
    fs.delete_dir_contents("a")
    assert fs.list_bucket("a").empty
    fs.delete_dir("a")
    assert fs.list_bucket().empty
    (tmp_path / "local.txt").write_text("x")
    fs.write_file_to_remote(str(tmp_path / "local.txt"), "b/remote.txt", {"owner": "me"})
    fs.write_file_from_remote("b/remote.txt", str(tmp_path / "back.txt"))
    assert (tmp_path / "back.txt").read_text() == "x"
    for key in ("../x", "/etc/passwd", "", "a/../../x", "a\0b"):
        with pytest.raises(FileSystemError, match="not a key"):
            fs.delete_file(key)
    with pytest.raises(ConfigurationError):
        FileSystem("azure", "x")


def test_a_half_written_file_never_appears(tmp_path: Path) -> None:
    fs = FileSystem("local", str(tmp_path))
    fs.write_dataset(FRAME, "x.csv", "csv")
    before = (tmp_path / "x.csv").read_bytes()

    def interrupted() -> None:
        with fs.writer("x.csv") as sink:
            sink.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "x.csv").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_a_clear_error(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    fs = FileSystem("local", str(tmp_path))

    def write_to_a_full_disk() -> None:
        with fs.writer("x.bin") as sink, open("/dev/full", "wb") as full:
            sink.write(b"1")
            full.write(b"1" * 100_000)

    with pytest.raises(FileSystemError, match="full"):
        write_to_a_full_disk()
    assert list(tmp_path.iterdir()) == []


def test_frames_of_the_churn_file_survive(tmp_path: Path) -> None:
    import os

    shared = Path(os.environ.get("A360_SHARED", Path(__file__).parents[3] / "shared"))
    source = shared / "data" / "Reward-Customer-Churn.csv"
    if not source.is_file():
        pytest.skip("the shared data are not here")
    repo = DataRepo(volume_name=str(tmp_path))
    shutil.copy(source, tmp_path)
    frame = repo.load_dataset(source.name)
    repo.write_dataset(frame, "churn", overwrite=True)
    pd.testing.assert_frame_equal(repo.load_dataset("churn.parquet"), frame)
    assert json.loads(json.dumps(list(frame.columns)))[-1] == "Churn"


@pytest.mark.parametrize(
    ("key", "expected"), [("a.csv", "csv"), ("a.b.PARQUET", "parquet"), ("x", ""), ("v1.2", "")]
)
def test_suffixes(key: str, expected: str) -> None:
    assert tables.suffix_of(key) == expected
