"""What only buckets have: keys, regions, half uploads and servers that do not answer."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from a360_hub_service.backends.storage.s3 import PART_BYTES, S3Storage
from a360_hub_service.backends.storage.s3_account import S3Account, _client
from a360_hub_service.errors import Conflict, Invalid, OutsideFailure
from tests.support.s3 import S3Server, moto_server, real_server
from tests.support.service import free_port

ROLE = "arn:aws:iam::123456789012:role/notebooks"


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with moto_server() as server:
        yield server


@pytest.fixture(params=["moto", pytest.param("real", marks=pytest.mark.s3)])
def server(request: pytest.FixtureRequest) -> S3Server:
    found = request.getfixturevalue("moto") if request.param == "moto" else real_server()
    if found is None:
        pytest.skip("A360_TEST_S3_ENDPOINT names no S3 server")
    return found


@pytest.fixture
def storage(server: S3Server) -> Iterator[S3Storage]:
    made = S3Storage(S3Account.of(server.settings, server.keys), f"a360-test-{uuid.uuid4().hex[:16]}")
    made.ensure_volume(create=True)
    yield made
    for item in made.list(recursive=True, limit=1000).items:
        made.delete(item.key)
    made.discard_volume()


def half_uploads(server: S3Server, storage: S3Storage) -> int:
    return len(server.client().list_multipart_uploads(Bucket=storage.bucket).get("Uploads", ()))


def test_an_aborted_upload_leaves_no_parts(server: S3Server, storage: S3Storage) -> None:
    writer = storage.writer("data")
    writer.write(b"x" * (2 * PART_BYTES + 1))
    assert half_uploads(server, storage) == 1
    writer.abort()
    assert half_uploads(server, storage) == 0
    assert storage.list().items == []


def test_large_files_are_parts_and_small_ones_are_not(server: S3Server, storage: S3Storage) -> None:
    for key, size in (("small", PART_BYTES - 1), ("large", 2 * PART_BYTES + 1)):
        with storage.writer(key) as writer:
            writer.write(b"x" * size)
    small, large = storage.stat("small"), storage.stat("large")
    assert small
    assert large
    assert "-" not in small.etag
    assert large.etag.endswith("-3")
    assert half_uploads(server, storage) == 0


def test_half_uploads_of_killed_processes_are_removed_by_the_server(
    server: S3Server, storage: S3Storage
) -> None:
    found = server.client().get_bucket_lifecycle_configuration(Bucket=storage.bucket)["Rules"]
    assert [rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] for rule in found] == [2]


def test_markers_of_folders_are_not_files(server: S3Server, storage: S3Storage) -> None:
    client = server.client()
    for key in ("folder/", "folder/data", "empty/"):
        client.put_object(Bucket=storage.bucket, Key=key, Body=b"")
    assert [(item.key, item.type) for item in storage.list().items] == [
        ("empty", "directory"),
        ("folder", "directory"),
    ]
    assert [item.key for item in storage.list("folder").items] == ["folder/data"]
    assert [item.key for item in storage.list(recursive=True).items] == ["folder/data"]
    assert storage.delete_prefix("empty") == 0
    assert storage.delete_prefix("folder") == 1
    assert storage.list().items == []


def test_a_server_that_does_not_answer(server: S3Server) -> None:
    account = replace(
        S3Account.of(server.settings, server.keys), endpoint_url=f"http://127.0.0.1:{free_port()}"
    )
    storage = S3Storage(account, "volume")
    for use in (storage.check, storage.list, account.check, lambda: storage.ensure_volume(create=True)):
        with pytest.raises(OutsideFailure, match="does not answer"):
            use()


@pytest.mark.parametrize("wrong", [{"endpoint_url": "http://my_storage"}, {"region": "7-"}])
def test_an_account_that_nothing_can_be_called_at(server: S3Server, wrong: dict[str, str]) -> None:
    account = replace(S3Account.of(server.settings, server.keys), **wrong)
    for use in (account.check, S3Storage(account, "volume").reach, S3Storage(account, "volume").list):
        with pytest.raises(Invalid) as refused:
            use()
        assert refused.value.errors[0].field == "endpoint_url"


def test_whether_a_server_answers_is_known_soon(server: S3Server) -> None:
    config = S3Account.of(server.settings, server.keys).client(patient=False).meta.config
    assert (config.connect_timeout, config.read_timeout) == (3, 10)
    assert config.retries["total_max_attempts"] == 1


def test_a_bucket_that_is_gone(server: S3Server, storage: S3Storage) -> None:
    storage.discard_volume()
    with pytest.raises(OutsideFailure, match="no bucket"):
        storage.list()
    storage.ensure_volume(create=True)


@pytest.mark.row("F184", "F210")
def test_a_bucket_of_another_region(moto: S3Server) -> None:
    name = f"a360-test-{uuid.uuid4().hex[:16]}"
    moto.client("eu-central-1").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    account = S3Account.of(moto.settings, moto.keys)
    with pytest.raises(Invalid, match="eu-central-1, not in us-east-1") as wrong:
        S3Storage(account, name).ensure_volume(create=False)
    assert wrong.value.errors[0].field == "volume_region"
    S3Storage(replace(account, region="eu-central-1"), name).ensure_volume(create=False)
    with pytest.raises(Conflict):
        S3Storage(account, name).ensure_volume(create=True)


@pytest.mark.row("F184")
def test_a_new_bucket_is_in_the_accounts_region(moto: S3Server) -> None:
    name = f"a360-test-{uuid.uuid4().hex[:16]}"
    account = replace(S3Account.of(moto.settings, moto.keys), region="eu-west-1")
    S3Storage(account, name).ensure_volume(create=True)
    assert moto.client("eu-west-1").get_bucket_location(Bucket=name)["LocationConstraint"] == "eu-west-1"


@pytest.mark.s3
@pytest.mark.row("F184", "F210")
def test_a_region_that_the_real_server_does_not_have() -> None:
    server = real_server()
    if server is None:
        pytest.skip("A360_TEST_S3_ENDPOINT names no S3 server")
    account = replace(S3Account.of(server.settings, server.keys), region="mars-north-1")
    with pytest.raises(Invalid) as wrong:
        S3Storage(account, f"a360-test-{uuid.uuid4().hex[:16]}").ensure_volume(create=True)
    assert wrong.value.errors[0].field == "volume_region"


@pytest.mark.s3
@pytest.mark.row("F094")
def test_wrong_keys_are_told() -> None:
    server = real_server()
    if server is None:
        pytest.skip("A360_TEST_S3_ENDPOINT names no S3 server")
    account = S3Account.of(server.settings, server.keys)
    account.check()
    for wrong in (replace(account, access_secret="wrong"), replace(account, access_key="nobody")):
        with pytest.raises(OutsideFailure, match="refuses the keys"):
            wrong.check()


def test_keys_are_not_shown(moto: S3Server) -> None:
    account = S3Account.of(moto.settings, moto.keys)
    assert moto.secret_key not in repr(account)
    assert moto.access_key not in repr(account)


def test_keys_of_a_role_are_for_one_bucket_and_end(moto: S3Server) -> None:
    account = replace(S3Account.of(moto.settings, moto.keys), role_arn=ROLE)
    access = S3Storage(account, "some-volume").access()
    assert access["session_token"]
    assert access["access_key"] not in (None, moto.access_key)
    left = datetime.fromisoformat(str(access["expiration"])) - datetime.now(UTC)
    assert 0 < left.total_seconds() <= 3600


def test_without_a_role_the_keys_are_the_accounts(moto: S3Server) -> None:
    access = S3Storage(S3Account.of(moto.settings, moto.keys), "some-volume").access()
    assert access == {
        "endpoint_url": moto.url,
        "region": "us-east-1",
        "access_key": moto.access_key,
        "secret_access_key": moto.secret_key,
    }


def test_checksums_are_left_out_for_servers_that_are_not_aws(moto: S3Server) -> None:
    account = S3Account.of(moto.settings, moto.keys)
    with contextlib.closing(_client(replace(account, endpoint_url=None), "s3", True)) as aws:
        assert aws.meta.config.request_checksum_calculation == "when_supported"
    own = account.client().meta.config
    assert (own.request_checksum_calculation, own.response_checksum_validation) == ("when_required",) * 2
