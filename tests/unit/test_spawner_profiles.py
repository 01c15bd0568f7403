"""Profiles and images: the YAML files, what is refused, and their translations."""

from pathlib import Path

import pytest
import yaml

from hub_config.culler_config import idle_for_too_long
from spawner_profiles.catalogue import HERE, Catalogue, Profile, catalogue, read_catalogue
from spawner_profiles.options import WorkspaceOptions
from spawner_profiles.sizes import memory_bytes
from spawner_profiles.translate import kubespawner_profile_list, spawner_traits, workspace_environment

ID = "0" * 32


def options(**changes: object) -> WorkspaceOptions:
    values = {
        "workspace_id": ID, "project_id": "1" * 32, "project_name": "Customer Churn",
        "image": "a360-local-sklearn", "cpu": 2, "memory": "1Gi", "profile": "small",
    }  # fmt: skip
    return WorkspaceOptions.model_validate({**values, **changes})


@pytest.mark.row("F229")
@pytest.mark.parametrize(
    "text", ["1", "1G", "1GB", "1gi", " 1Gi", "1 Gi", "-1Gi", "Gi", "1,5Gi", "1Mi", "", "٣Gi"]
)
def test_memory_is_a_number_followed_by_gi(text: str) -> None:
    with pytest.raises(ValueError, match="type a number followed by Gi"):
        memory_bytes(text)


@pytest.mark.row("F229")
def test_memory_is_read_in_gibibytes() -> None:
    assert memory_bytes("1Gi") == 2**30
    assert memory_bytes("1.5Gi") == 3 * 2**29
    for text in ("0Gi", "0.1Gi", "99999Gi"):
        with pytest.raises(ValueError, match="out of range"):
            memory_bytes(text)


@pytest.mark.row("F227", "F228")
def test_shipped_catalogue_is_consistent() -> None:
    known = read_catalogue(HERE)
    assert known.profiles[0].cpu == 1
    assert known.profiles[0].memory == "1Gi"
    assert known.image("sklearn").name == "a360-local-sklearn"
    assert known.image("a360-local-sklearn").name.split("-")[-1] == "sklearn"
    assert {profile.idle_hours for profile in known.profiles} == {1}


def test_unknown_image_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"no image 'theano'; choose one of: a360-local-sklearn"):
        catalogue().image("theano")


def copy_of_catalogue(folder: Path, profiles: list[dict[str, object]]) -> Path:
    (folder / "images").mkdir()
    (folder / "profiles.yaml").write_text(yaml.safe_dump(profiles))
    for path in (HERE / "images").iterdir():
        (folder / "images" / path.name).write_bytes(path.read_bytes())
    return folder


def profile(**changes: object) -> dict[str, object]:
    return {"name": "s", "title": "S", "cpu": 1, "memory": "1Gi", "image": "sklearn", **changes}


@pytest.mark.parametrize(
    ("profiles", "complaint"),
    [
        ([profile(color="red")], "color"),
        ([profile(memory="1GB")], "number followed by Gi"),
        ([profile(cpu=0)], "cpu"),
        ([profile(image="theano")], "no image 'theano'"),
        ([profile(), profile()], "share a name"),
        ([profile(name="big", cpu=4), profile()], "must be the smallest"),
        ([], "at least 1 item"),
    ],
)
def test_wrong_catalogues_are_refused(
    tmp_path: Path, profiles: list[dict[str, object]], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_catalogue(copy_of_catalogue(tmp_path, profiles))


def test_operators_catalogue_replaces_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_of_catalogue(tmp_path, [profile(name="tiny", memory="0.5Gi")])
    monkeypatch.setenv("A360_PROFILES", str(tmp_path))
    assert [p.name for p in catalogue().profiles] == ["tiny"]
    assert catalogue().images[0].lock == tmp_path / "images" / "sklearn.lock"


def sizes(*given: tuple[str, float, str, int]) -> Catalogue:
    profiles = [
        Profile(name=name, title=name, cpu=cpu, memory=memory, gpus=gpus, image="sklearn")
        for name, cpu, memory, gpus in given
    ]
    return Catalogue(profiles=profiles, images=catalogue().images)


def test_a_workspace_idles_as_long_as_the_smallest_profile_that_holds_it() -> None:
    known = sizes(("small", 1, "1Gi", 0), ("wide", 4, "4Gi", 0), ("gpu", 8, "64Gi", 2))
    assert known.profile_for(1, "1Gi", 0).name == "small"
    assert known.profile_for(1, "2Gi", 0).name == "wide"
    assert known.profile_for(1, "1Gi", 1).name == "gpu"
    assert known.profile_for(64, "512Gi", 0).name == "gpu"


def test_kubespawner_profile_list() -> None:
    first, second = kubespawner_profile_list(sizes(("small", 1, "1Gi", 0), ("gpu", 8, "64Gi", 2)))
    assert first["default"]
    assert not second["default"]
    assert first["kubespawner_override"] == {
        "cpu_limit": 1,
        "cpu_guarantee": 0.5,
        "mem_limit": 2**30,
        "mem_guarantee": 2**29,
    }
    assert second["kubespawner_override"]["extra_resource_limits"] == {"nvidia.com/gpu": "2"}
    choice = first["profile_options"]["image"]["choices"]["a360-local-sklearn"]
    assert choice["kubespawner_override"]["environment"] == {"A360_IMAGE": "a360-local-sklearn"}


def test_spawner_traits_and_environment_of_a_start() -> None:
    image = catalogue().images[0]
    traits = spawner_traits(options(gpus=1), image)
    assert traits["cpu_limit"] == 2
    assert traits["mem_limit"] == 2**30
    assert traits["extra_resource_limits"] == {"nvidia.com/gpu": "1"}
    environment = workspace_environment(options(), "http://hub/services/a360/api/v1")
    assert environment["A360_PROJECT_NAME"] == "Customer Churn"
    assert environment["A360_IMAGE"].split("-")[-1] == "sklearn"
    assert environment["OMP_NUM_THREADS"] == "2"


@pytest.mark.row("F235")
def test_each_workspace_is_culled_after_its_own_idle_time() -> None:
    from datetime import timedelta

    server = {"user_options": {"a360": {"idle_seconds": 7200}}}
    assert not idle_for_too_long(timedelta(hours=1.5), 3600, server)
    assert idle_for_too_long(timedelta(hours=2), 3600, server)
    for without in ({}, {"user_options": None}, {"user_options": {"a360": None}}):
        assert idle_for_too_long(timedelta(hours=1), 3600, without)
        assert not idle_for_too_long(timedelta(minutes=59), 3600, without)
