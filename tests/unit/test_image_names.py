"""Names of images, and what an operator may configure of a registry."""

import pytest
from traitlets import TraitError

from a360_hub_service.backends.registries import ImageName, Registry, names

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("python", ImageName("docker.io", "library/python", "latest")),
        ("onnx/onnx-base:1", ImageName("docker.io", "onnx/onnx-base", "1")),
        ("ghcr.io/a/b.c__d-e", ImageName("ghcr.io", "a/b.c__d-e", "latest")),
        ("localhost/a:1", ImageName("localhost", "a", "1")),
        ("127.0.0.1:5000/a/b:V_1.0", ImageName("127.0.0.1:5000", "a/b", "V_1.0")),
        ("[::1]:5000/a", ImageName("[::1]:5000", "a", "latest")),
        (f"registry.example.org/a@{DIGEST}", ImageName("registry.example.org", "a", "", DIGEST)),
        (f"r.example.org:443/a:1@{DIGEST}", ImageName("r.example.org:443", "a", "1", DIGEST)),
    ],
)
def test_names_are_read_as_docker_reads_them(text: str, name: ImageName) -> None:
    assert names.parse(text) == name
    assert names.parse(str(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        "", "A/b", "a//b", "a/", "a:b:c", "a b", "http://a.org/b", "a..b", f"a@{DIGEST[:-1]}", "a:-x",
        "../../etc/passwd", "r.example.org/a?b", "user@r.example.org/a", "a" * 256,
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        names.parse(text)


@pytest.mark.parametrize(
    "url",
    [
        "http://registry.example.org", "registry.example.org", "https://registry.example.org/v2",
        "https://user@registry.example.org", "ftp://127.0.0.1", "http://127.0.0.1.example.org", "https://", "https://[1::2::3]",
    ],
)  # fmt: skip
def test_addresses_that_show_passwords_or_are_none_are_refused(url: str) -> None:
    with pytest.raises(TraitError, match=r"Registry\.url"):
        Registry(url=url)


@pytest.mark.parametrize(
    "url", ["https://r.example.org:444/", "http://localhost:5000", "http://[::1]:5000", ""]
)
def test_other_addresses_are_taken(url: str) -> None:
    assert Registry(url=url).url == url.rstrip("/")


def test_a_prefix_is_a_name() -> None:
    assert Registry(prefix="/team/models/").prefix == "team/models"
    for wrong in ("Team", "x" * 201, ""):
        with pytest.raises(TraitError, match=r"Registry\.prefix"):
            Registry(prefix=wrong)


def test_no_address_is_told_more_than_it_needs() -> None:
    registry = Registry(url="https://r.example.org", username="u", password="secret-word")
    assert "secret-word" not in repr(registry.login())
