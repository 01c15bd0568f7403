"""Remote data sets: every kind of address, name and header, over a real HTTP server."""

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pytest

from a360mdk import A360AI
from a360mdk.exceptions import DatasetError
from tests.kit.conftest import Workspace

FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
IRIS = "5.1,3.5,setosa\n4.9,3.0,setosa\n"


class Site:
    """Files by path, each with the media type it is sent as."""

    def __init__(self, folder: Path) -> None:
        FRAME.to_parquet(folder / "p")
        FRAME.to_excel(folder / "x", index=False)
        excel = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
        self.files: dict[str, tuple[bytes, str]] = {
            "/f.csv": (b"a,b\n1,x\n2,y\n", "text/plain"),
            "/f.CSV": (b"a,b\n1,x\n2,y\n", "text/plain"),
            "/iris.data": (IRIS.encode(), "application/octet-stream"),
            "/blanks.txt": (b"a   b\n1   x\n2   y\n", "text/plain"),
            "/tabs.tsv": (b"a\tb\n1\tx\n2\ty\n", "text/plain"),
            "/semicolons.txt": (b"a;b\n1;x\n2;y\n", "text/plain"),
            "/packed.csv.gz": (gzip.compress(b"a,b\n1,x\n2,y\n"), "application/gzip"),
            "/download": (b"a,b\n1,x\n2,y\n", "text/csv; charset=utf-8"),
            "/api/rows": (FRAME.to_json(orient="records").encode(), "application/json"),
            "/lines.json": (FRAME.to_json(orient="records", lines=True).encode(), "text/plain"),
            "/f.parquet": ((folder / "p").read_bytes(), "application/octet-stream"),
            "/sheet": ((folder / "x").read_bytes(), excel),
            "/deep.csv": (b"made by a tool\nignored\na,b\n1,x\n2,y\n", "text/csv"),
            "/two.csv": (b"a,a\nlow,high\n1,2\n3,4\n", "text/csv"),
        }


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    files = Site(tmp_path).files

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, media_type = files.get(urlsplit(self.path).path, (b"", ""))
            self.send_response(200 if media_type else 404)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.row("M032")
@pytest.mark.parametrize(
    ("address", "dataset", "stored"),
    [
        ("/f.csv", "copy", "copy.csv"),
        ("/f.CSV", "copy", "copy.csv"),
        ("/f.csv?raw=true&token=a.b", "copy", "copy.csv"),
        ("/download?file=f.csv", "copy", "copy.csv"),
        ("/download", "copy", "copy.csv"),
        ("/blanks.txt", "copy", "copy.csv"),
        ("/tabs.tsv", "copy", "copy.csv"),
        ("/semicolons.txt", "copy", "copy.csv"),
        ("/packed.csv.gz", "copy", "copy.csv"),
        ("/api/rows?limit=2", "copy", "copy.json"),
        ("/lines.json", "copy", "copy.json"),
        ("/f.parquet", "copy", "copy.parquet"),
        ("/sheet", "copy", "copy.parquet"),
        ("/f.csv", "folder/copy.parquet", "folder/copy.parquet"),
        ("/f.parquet", "copy.csv", "copy.csv"),
        ("/tabs.tsv", "copy.json", "copy.json"),
    ],
)
def test_every_kind_of_address(ai: A360AI, site: str, address: str, dataset: str, stored: str) -> None:
    assert ai.write_remote_dataset(site + address, dataset) is True
    pd.testing.assert_frame_equal(ai.load_dataset(stored), FRAME)


@pytest.mark.row("M033", "M034")
def test_headers_and_names(ai: A360AI, site: str) -> None:
    names = ["length", "width", "kind"]
    ai.write_remote_dataset(uri=f"{site}/iris.data", dataset="iris.csv", header=None, names=names)
    assert list(ai.load_dataset("iris.csv").columns) == names
    assert len(ai.load_dataset("iris.csv")) == 2
    # As in pandas: where names are given and header is not, the first row is data.
    ai.write_remote_dataset(f"{site}/iris.data", "iris", names=names)
    assert len(ai.load_dataset("iris.csv")) == 2
    ai.write_remote_dataset(f"{site}/f.csv", "f", header=0, names=["x", "y"])
    assert list(ai.load_dataset("f.csv").columns) == ["x", "y"]
    assert len(ai.load_dataset("f.csv")) == 2
    ai.write_remote_dataset(f"{site}/f.csv", "infer.parquet", header="infer")
    ai.write_remote_dataset(f"{site}/f.csv", "zero.parquet", header=0)
    pd.testing.assert_frame_equal(ai.load_dataset("infer.parquet"), ai.load_dataset("zero.parquet"))
    ai.write_remote_dataset(f"{site}/deep.csv", "deep", header=2)
    pd.testing.assert_frame_equal(ai.load_dataset("deep.csv"), FRAME)
    ai.write_remote_dataset(f"{site}/two.csv", "two", header=[0, 1])
    assert list(ai.load_dataset("two.csv").columns) == ["('a', 'low')", "('a', 'high')"]
    ai.write_remote_dataset(f"{site}/sheet", "sheet", header=0, names=["x", "y"])
    assert list(ai.load_dataset("sheet.parquet").columns) == ["x", "y"]
    ai.write_remote_dataset(f"{site}/f.parquet", "renamed", names=["x", "y"])
    assert list(ai.load_dataset("renamed.parquet").columns) == ["x", "y"]
    with pytest.raises(DatasetError, match="2 columns and 1 names"):
        ai.write_remote_dataset(f"{site}/f.parquet", "renamed", names=["x"])
    with pytest.raises(DatasetError, match="could not be read as csv"):
        ai.write_remote_dataset(f"{site}/f.csv", "f", header=99)


@pytest.mark.row("M032", "M167", "F221")
def test_it_is_a_commit_that_names_the_address(workspace: Workspace, site: str) -> None:
    ai = workspace.ai
    ai.write_remote_dataset(f"{site}/f.csv", "f.csv")
    ai.write_remote_dataset(f"{site}/f.csv", "f.csv")  # a notebook that is run again
    assert set(ai.list_commits("f.csv").message) == {f"Copy of {site}/f.csv"}
    for uri in (f"{site}/nothing.csv", "http://127.0.0.1:9/f.csv", "ftp://example/f.csv", "no/such/file.csv"):
        with pytest.raises(DatasetError) as refused:
            ai.write_remote_dataset(uri, "missing.csv")
        assert refused.value.what
        assert refused.value.hint
    (workspace.home / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match="could not be read as parquet"):
        ai.write_remote_dataset("broken.parquet", "broken.csv")
    assert list(ai.list_datasets().base_name) == ["f.csv"]
