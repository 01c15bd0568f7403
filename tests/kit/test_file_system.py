"""The file system of data repos: each call in a folder and in a bucket, and what a store refuses."""

import secrets
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.fs
import pytest

from a360mdk import FileSystem
from a360mdk.exceptions import ConfigurationError, FileSystemError
from tests.support.guarded_s3 import Guarded, guarded_server
from tests.support.s3 import REGION, S3Server, moto_server

FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with moto_server() as server:
        yield server


def opened(server: S3Server, bucket: str, **more: Any) -> FileSystem:
    """A bucket by a user's keys."""
    given = {"access_key": server.access_key, "secret_access_key": server.secret_key, **more}
    return FileSystem("aws", bucket, volume_region=REGION, endpoint_url=server.url, **given)


@pytest.fixture(params=["local", "aws"])
def fs(request: pytest.FixtureRequest, tmp_path: Path) -> FileSystem:
    if request.param == "local":
        (tmp_path / "repo").mkdir()
        return FileSystem("local", str(tmp_path / "repo"))
    server = request.getfixturevalue("moto")
    name = f"fs-{secrets.token_hex(6)}"
    server.client().create_bucket(Bucket=name)
    return opened(server, name)


@pytest.mark.row("M146", "M147", "M148", "M149", "M150")
def test_what_it_says_of_itself(fs: FileSystem) -> None:
    aws_only = (fs.access_key, fs.secret_access_key, fs.region)
    assert fs.local is (fs.storage_provider == "local")
    assert fs.bucket
    assert fs.account is None
    assert aws_only == ((None,) * 3 if fs.local else ("moto-access", "moto-secret", REGION))
    assert list(fs.file_types) == ["target does not exist", "unknown", "file", "directory"]
    assert FileSystem("aws", "b", volume_account="Lake").account == "Lake"
    # In 0.2.9 local=True was enough, whatever the provider.
    assert FileSystem("aws", "/tmp", local=True).storage_provider == "local"
    positional = FileSystem(
        "aws", "b", "Lake", "eu-west-1", "key", "secret", "token", "arn", "2030-01-01", False
    )
    assert (positional.region, positional.expiration) == ("eu-west-1", "2030-01-01")
    with pytest.raises(ConfigurationError, match="azure"):
        FileSystem("azure", "x")


@pytest.mark.row("M151", "M152", "M153", "M154", "M155", "M157")
def test_folders_and_files(fs: FileSystem) -> None:
    fs.create_dir("a/b")
    for key in ("a/b/1.csv", "a/2.csv", "3.csv"):
        fs.write_dataset(FRAME, key, "csv")
    info = fs.get_file_info("a/2.csv")
    assert (info["base_name"], info["extension"], info["type"]) == ("2.csv", "csv", "file")
    assert info["size"] == len(FRAME.to_csv(index=False))
    assert isinstance(info["file_info"], pyarrow.fs.FileInfo)
    assert fs.get_file_info("a")["type"] == "directory"
    assert fs.get_file_info("nothing")["type"] == "target does not exist"
    assert list(fs.list_bucket().base_name) == ["3.csv", "a"]
    assert list(fs.list_bucket("a").base_name) == ["2.csv", "b"]
    assert list(fs.list_bucket("a", recursive=True).base_name) == ["2.csv", "b", "1.csv"]
    assert [p.removeprefix(fs.bucket) for p in fs.list_bucket(recursive=True).path] == [
        "/3.csv", "/a", "/a/2.csv", "/a/b", "/a/b/1.csv"
    ]  # fmt: skip
    fs.write_dataset(FRAME, "Projects/p/x.csv", "csv")
    assert "Projects" not in set(fs.list_bucket(recursive=True).base_name)
    shown = fs.list_bucket(recursive=True, exclude_projects=False)
    assert {"Projects", "x.csv"} <= set(shown.base_name)
    fs.delete_file("a/2.csv")
    assert not fs.is_file("a/2.csv")
    fs.delete_dir_contents("a")
    assert fs.list_bucket("a").empty
    fs.write_dataset(FRAME, "a/4.csv", "csv")
    fs.delete_dir("a")
    assert fs.get_file_info("a/4.csv")["type"] == "target does not exist"
    assert list(fs.list_bucket().base_name) == ["3.csv"]


@pytest.mark.row("M156", "M159")
@pytest.mark.parametrize("target_format", ["parquet", "csv", "json"])
@pytest.mark.parametrize(
    "data", [FRAME, FRAME.a, np.ones((2, 3)), np.arange(3)], ids=["frame", "series", "2d", "1d"]
)
def test_data_sets_of_every_kind_and_format(fs: FileSystem, data: Any, target_format: str) -> None:
    fs.write_dataset(data, f"x.{target_format}", target_format=target_format)
    with fs.get_object(f"x.{target_format}") as source:
        assert isinstance(source, pyarrow.NativeFile)
        back = getattr(pd, f"read_{target_format}")(source)
    np.testing.assert_array_equal(back.to_numpy(), np.asarray(data).reshape(len(data), -1))
    fs.write_dataset(data, "default")
    with fs.get_object("default") as source:
        assert len(pd.read_parquet(source)) == len(data)


@pytest.mark.row("M160", "M161")
def test_files_go_there_and_back(fs: FileSystem, moto: S3Server, tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(100_000)
    (tmp_path / "here.bin").write_bytes(content)
    fs.write_file_to_remote(str(tmp_path / "here.bin"), "there.bin", {"owner": "me"})
    fs.write_file_to_remote(str(tmp_path / "here.bin"), "typed.bin", {"Content-Type": "text/plain"})
    fs.write_file_from_remote("there.bin", str(tmp_path / "back.bin"))
    assert (tmp_path / "back.bin").read_bytes() == content
    if not fs.local:
        head = moto.client().head_object(Bucket=fs.bucket, Key="there.bin")
        assert head["Metadata"] == {"owner": "me"}
        assert moto.client().head_object(Bucket=fs.bucket, Key="typed.bin")["ContentType"] == "text/plain"
    with pytest.raises(FileSystemError, match=r"cannot be read"):
        fs.write_file_to_remote(str(tmp_path / "nothing"), "x", {})
    with pytest.raises(FileSystemError, match="code 100"):
        fs.write_file_from_remote("nothing", str(tmp_path / "back.bin"))
    assert (tmp_path / "back.bin").read_bytes() == content


@pytest.mark.row("M158")
def test_a_path_that_is_missing_is_code_100(fs: FileSystem) -> None:
    for call in (
        lambda: fs.list_bucket("nowhere"),
        lambda: fs.get_object("nowhere/x.csv"),
        lambda: fs.delete_file("nowhere/x.csv"),
        lambda: fs.delete_dir("nowhere"),
    ):
        with pytest.raises(FileSystemError, match="code 100") as missing:
            call()
        assert missing.value.code == "code 100"
        assert missing.value.hint


# Keys


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    with guarded_server() as server:
        yield server


@pytest.mark.row("M158", "M169")
def test_wrong_keys_are_core_15(guarded: Guarded, tmp_path: Path) -> None:
    guarded.admin.client().create_bucket(Bucket="guarded")
    (tmp_path / "x").write_text("1")
    wrong = [
        opened(guarded.user, "guarded", access_key="AKIAWRONG"),
        opened(guarded.user, "guarded", secret_access_key="wrong"),
        opened(guarded.beggar, "guarded"),
    ]
    for fs in wrong:
        for call in (
            lambda fs=fs: fs.list_bucket(),
            lambda fs=fs: fs.write_dataset(FRAME, "x.csv", "csv"),
            lambda fs=fs: fs.write_file_to_remote(tmp_path / "x", "x", {"owner": "me"}),
        ):
            with pytest.raises(FileSystemError, match="core 15") as refused:
                call()
            assert refused.value.code == "core 15"
            assert "credential" in refused.value.hint


@pytest.mark.row("M146", "M156", "M159", "M161")
def test_a_role_is_for_reading_and_writing(guarded: Guarded, tmp_path: Path) -> None:
    guarded.admin.client().create_bucket(Bucket="guarded")
    fs = opened(guarded.beggar, "guarded", target_arn=guarded.role)
    fs.write_dataset(FRAME, "x.parquet")
    with fs.get_object("x.parquet") as source:
        assert pd.read_parquet(source).equals(FRAME)
    (tmp_path / "x").write_text("1")
    fs.write_file_to_remote(tmp_path / "x", "x", {"owner": "me"})
    assert list(fs.list_bucket().base_name) == ["x", "x.parquet"]
    # Its keys are asked for anew before they end.
    assumed = fs._assumed
    assert assumed is not None
    assert assumed.session_token
    soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    fs._assumed = type(assumed)(assumed.access_key, assumed.secret_access_key, assumed.session_token, soon)
    assert fs.is_file("x")
    assert fs._assumed.access_key != assumed.access_key
    # The keys by themselves, handed on as others hand them on.
    handed_on = opened(
        guarded.beggar,
        "guarded",
        access_key=fs._assumed.access_key,
        secret_access_key=fs._assumed.secret_access_key,
        session_token=fs._assumed.session_token,
        target_arn=guarded.role,
        expiration=fs._assumed.expiration,
    )
    handed_on.write_dataset(FRAME, "y.csv", "csv")
    assert handed_on.is_file("y.csv")
    with pytest.raises(FileSystemError, match="core 15"):
        opened(guarded.user, "guarded", access_key="AKIAWRONG", target_arn=guarded.role).list_bucket()


class _Elsewhere(BaseHTTPRequestHandler):
    """Answers as S3 does for a bucket of another region."""

    def do_GET(self) -> None:
        body = b"<Error><Code>PermanentRedirect</Code><Message>Use the right endpoint.</Message></Error>"
        self.send_response(301)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.mark.row("M158")
def test_a_wrong_region_is_code_100() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        there = S3Server(f"http://127.0.0.1:{server.server_port}", "key", "secret")
        with pytest.raises(FileSystemError, match="code 100") as wrong:
            opened(there, "elsewhere").list_bucket()
        assert "region" in wrong.value.hint
    finally:
        server.shutdown()
        server.server_close()
