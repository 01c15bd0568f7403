"""The distribution protocol against a real registry: uploads, mounts, challenges, and what is refused."""

import json
import os
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from a360_hub_service.backends.base import BackendError
from a360_hub_service.backends.registries import Descriptor, Registry, RegistryClient
from tests.support.endpoints import free_port
from tests.support.registry import PASSWORD, USER, RegistryServer, registry_server
from tests.support.token_server import TokenServer, token_server

pytestmark = pytest.mark.xdist_group("oci")

MIB = 1024 * 1024
BLOB = "application/octet-stream"
OCI = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    """A server of tokens."""
    with token_server(tmp_path_factory.mktemp("tokens"), USER, PASSWORD) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tokens: TokenServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A registry that wants tokens."""
    with registry_server(tmp_path_factory.mktemp("guarded"), auth=tokens.auth()) as running:
        yield running


def client(registry: Registry) -> RegistryClient:
    return registry.client(BackendError)


def blob(path: Path, size: int) -> Descriptor:
    """Write a blob of random bytes."""
    path.write_bytes(os.urandom(size))
    done = subprocess.run(["sha256sum", str(path)], capture_output=True, text=True, check=True)
    return Descriptor(BLOB, f"sha256:{done.stdout.split()[0]}", size)


@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 12 * MIB + 1])
def test_what_was_sent_whole_or_in_parts_comes_back(
    registry_running: RegistryServer, tmp_path: Path, size: int
) -> None:
    found = blob(tmp_path / "blob", size)
    with client(registry_running.configured(chunk_bytes=5 * MIB)) as registry:
        assert not registry.has_blob("blobs/one", found.digest)
        assert registry.upload("blobs/one", found, lambda: tmp_path / "blob") == "sent"
        assert registry.upload("blobs/one", found, lambda: tmp_path / "blob") == "there"
        assert registry.upload("blobs/two", found, lambda: tmp_path / "blob", "blobs/one") == "mounted"
        assert registry.upload("blobs/three", found, lambda: tmp_path / "blob", "no/such") == "sent"
        registry.download("blobs/two", found, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "blob").read_bytes()


def test_blobs_stream(registry_running: RegistryServer, tmp_path: Path) -> None:
    found = blob(tmp_path / "blob", 64 * MIB)
    tracemalloc.start()
    try:
        with client(registry_running.configured()) as registry:
            registry.upload("blobs/large", found, lambda: tmp_path / "blob")
            registry.download("blobs/large", found, tmp_path / "back")
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


def test_content_that_is_not_what_it_should_be_is_refused(
    registry_running: RegistryServer, tmp_path: Path
) -> None:
    found = blob(tmp_path / "blob", 1000)
    wrong = Descriptor(BLOB, "sha256:" + "0" * 64, 1000)
    with client(registry_running.configured()) as registry:
        with pytest.raises(BackendError, match="digest"):
            registry.upload("blobs/wrong", wrong, (tmp_path / "blob").read_bytes())
        registry.upload("blobs/wrong", found, (tmp_path / "blob").read_bytes())
        # On the registry's own disk.
        (store,) = registry_running.folder.glob(f"store/**/{found.digest.partition(':')[2]}/data")
        store.write_bytes(os.urandom(1000))
        with pytest.raises(BackendError, match="is not sha256:"):
            registry.download("blobs/wrong", found, tmp_path / "back")
        with pytest.raises(BackendError, match="is not sha256:"):
            registry.document("blobs/wrong", found)


def test_manifests_are_stored_found_and_deleted(registry_running: RegistryServer) -> None:
    with client(registry_running.configured()) as registry:
        assert registry.manifest("images/one", "1") is None
        config = b"{}"
        described = Descriptor(
            BLOB, "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", 2
        )
        registry.upload("images/one", described, config)
        body = json.dumps(
            {"schemaVersion": 2, "mediaType": OCI, "config": described.document(), "layers": []}
        ).encode()
        registry.put_manifest("images/one", "1", body, OCI)
        assert registry.manifest("images/one", "1") == (body, OCI)
        with registry_running.http() as http:
            digest = http.head("/v2/images/one/manifests/1", headers={"Accept": OCI}).headers[
                "Docker-Content-Digest"
            ]
        assert registry.manifest("images/one", digest) == (body, OCI)
        assert registry.delete_manifest("images/one", digest)
        assert registry.delete_manifest("images/one", digest)
        assert registry.manifest("images/one", "1") is None


def test_a_token_is_fetched_for_each_repository_and_kept(
    guarded: RegistryServer, tokens: TokenServer, tmp_path: Path
) -> None:
    tokens.asked.clear()
    found = blob(tmp_path / "blob", 3 * MIB)
    with client(guarded.configured(chunk_bytes=MIB)) as registry:
        registry.check()
        registry.upload("team/model", found, lambda: tmp_path / "blob")
        registry.download("team/model", found, tmp_path / "back")
    assert tokens.asked == ["repository:team/model:pull", "repository:team/model:pull,push"]


@pytest.mark.row("F308")
def test_who_may_only_read_is_told_so(guarded: RegistryServer, tokens: TokenServer) -> None:
    found = Descriptor(BLOB, "sha256:" + "1" * 64, 1)
    tokens.granted = ["pull"]
    try:
        with (
            client(guarded.configured()) as registry,
            pytest.raises(BackendError, match="does not let the platform write team/model") as caught,
        ):
            registry.upload("team/model", found, b"1")
        assert "the right to push to" in caught.value.hint
    finally:
        tokens.granted = ["pull", "push"]


@pytest.mark.row("F308")
def test_wrong_passwords_are_named_and_shown_nowhere(
    registry_running: RegistryServer, guarded: RegistryServer
) -> None:
    for server in (registry_running, guarded):
        wrong = server.configured(password="not-the-password")
        with client(wrong) as registry, pytest.raises(BackendError, match="does not accept") as caught:
            registry.check()
        assert "not-the-password" not in f"{caught.value} {caught.value.hint}"
        assert not wrong.health().available
        nobody = server.configured(username="")
        with client(nobody) as registry, pytest.raises(BackendError, match="no user name is configured"):
            registry.check()
    assert registry_running.configured().health().available


def test_a_password_may_lie_in_a_file(registry_running: RegistryServer, tmp_path: Path) -> None:
    registry = registry_running.configured(password="", password_file=str(tmp_path / "password"))
    assert "cannot be read" in registry.health().reason
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    assert registry.health().available


@pytest.mark.row("F308")
def test_a_registry_that_does_not_answer_is_named() -> None:
    registry = Registry(url=f"http://127.0.0.1:{free_port()}")
    with (
        client(registry) as nobody,
        pytest.raises(BackendError, match=r"does not answer: .*refused") as caught,
    ):
        nobody.check()
    assert "Check the address" in caught.value.hint


def test_a_registry_without_https_is_told_from_one_that_is_away(registry_running: RegistryServer) -> None:
    registry = Registry(url=f"https://{registry_running.address}")
    with client(registry) as plain, pytest.raises(BackendError, match="does not speak HTTPS"):
        plain.check()


@pytest.mark.row("F308")
def test_a_full_registry_is_named(small_disk: Path, tmp_path: Path) -> None:
    found = blob(tmp_path / "blob", 41 * MIB)
    with (
        registry_server(tmp_path / "registry", storage=small_disk) as server,
        client(server.configured()) as registry,
        pytest.raises(BackendError, match="has no space left") as caught,
    ):
        registry.upload("blobs/large", found, lambda: tmp_path / "blob")
    assert "Free space" in caught.value.hint


def test_a_login_goes_to_no_other_registry(registry_running: RegistryServer, tmp_path: Path) -> None:
    with registry_server(tmp_path / "other") as other:
        own = registry_running.configured()
        with (
            own.client(BackendError, other.address) as stranger,
            pytest.raises(BackendError, match="no user name is configured"),
        ):
            stranger.manifest("images/one", "1")
