"""The Hub starts only what the service signed."""

import asyncio
import copy
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.web import HTTPError
from traitlets.config import Config

from hub_config.install import CULLER_SCOPES, SERVICE_SCOPES, install_a360, workspace_hook
from hub_config.spawner import workspace_home
from spawner_profiles.options import OptionsRefused, WorkspaceOptions, sign, verify

KEY = b"k" * 32
OPTIONS = WorkspaceOptions(
    workspace_id="0" * 32,
    project_id="1" * 32,
    project_name="Churn",
    image="a360-local-sklearn",
    cpu=1,
    memory="1Gi",
    profile="small",
)


def test_signed_options_come_back() -> None:
    assert verify(KEY, "ann", "ws", sign(KEY, "ann", "ws", OPTIONS)) == OPTIONS


@pytest.mark.parametrize(
    ("user", "server", "key"), [("bob", "ws", KEY), ("ann", "other", KEY), ("ann", "ws", b"x")]
)
def test_options_of_another_user_server_or_key_are_refused(user: str, server: str, key: bytes) -> None:
    with pytest.raises(OptionsRefused, match="not made by A360"):
        verify(key, user, server, sign(KEY, "ann", "ws", OPTIONS))


@pytest.mark.parametrize("signature", ["\xe9" * 64, "\ud800"])
def test_signatures_that_are_no_ascii_are_refused(signature: str) -> None:
    forged = {**sign(KEY, "ann", "ws", OPTIONS), "signature": signature}
    with pytest.raises(OptionsRefused, match="not made by A360"):
        verify(KEY, "ann", "ws", forged)


@pytest.mark.parametrize("field", ["workspace_id", "project_id", "memory", "cpu", "image", "idle_seconds"])
def test_changed_options_are_refused(field: str) -> None:
    forged = copy.deepcopy(sign(KEY, "ann", "ws", OPTIONS))
    forged["a360"][field] = 99
    with pytest.raises(OptionsRefused):
        verify(KEY, "ann", "ws", forged)


def test_old_options_are_refused_except_for_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    signed = sign(KEY, "ann", "ws", OPTIONS)
    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(OptionsRefused, match="too old"):
        verify(KEY, "ann", "ws", signed)
    assert verify(KEY, "ann", "ws", signed, allow_expired=True) == OPTIONS


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)


@settings(suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy with other tests
@given(
    st.dictionaries(
        st.sampled_from(["a360", "expires", "signature", "x"]), scalars | st.just(OPTIONS.model_dump())
    )
)
def test_nothing_unsigned_is_accepted(user_options: dict[str, Any]) -> None:
    with pytest.raises(OptionsRefused):
        verify(KEY, "ann", "ws", user_options)


class FakeSpawner(SimpleNamespace):
    """What the hook touches of a spawner: no Hub is needed to see what it sets."""

    def has_trait(self, name: str) -> bool:
        return name in ("cpu_limit", "mem_limit")


def spawner(user_options: dict[str, Any]) -> FakeSpawner:
    return FakeSpawner(
        user=SimpleNamespace(name="ann"), name="ws", user_options=user_options, environment={"KEPT": "1"}
    )


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(KEY)
    return path


async def run_hook(hook: Any, target: FakeSpawner) -> None:
    await hook(target)


def test_hook_sets_limits_and_environment_and_goes_on(key_file: Path) -> None:
    seen = []

    async def operators(target: Any) -> None:
        seen.append(target.name)

    target = spawner(sign(KEY, "ann", "ws", OPTIONS))
    asyncio.run(run_hook(workspace_hook(key_file, "http://hub/api/v1", operators), target))
    assert (target.cpu_limit, target.mem_limit) == (1, 2**30)
    assert target.environment["KEPT"] == "1"
    assert target.environment["A360_WORKSPACE_ID"] == "0" * 32
    assert target.environment["A360_API_URL"] == "http://hub/api/v1"
    assert target.a360_options == OPTIONS
    assert seen == ["ws"]
    assert not hasattr(target, "image")


def test_hook_tells_where_workspaces_are_made(key_file: Path) -> None:
    with pytest.raises(HTTPError) as refused:
        asyncio.run(run_hook(workspace_hook(key_file, "http://hub/api/v1"), spawner({})))
    assert refused.value.status_code == 403
    assert "open A360" in refused.value.jupyterhub_message


def test_install_adds_to_what_an_operator_configured(key_file: Path) -> None:
    c = Config()
    c.JupyterHub.services = [{"name": "theirs"}]
    c.JupyterHub.load_roles.extend([{"name": "their-role"}])
    c.JupyterHub.extra_user_scopes = {"tokens!user"}
    install_a360(c, public_url="https://hub.example.org/", options_key_file=key_file, api_token="t" * 32)
    assert [s["name"] for s in c.JupyterHub.services] == ["theirs", "a360", "a360-idle-culler"]
    assert [r["name"] for r in c.JupyterHub.load_roles] == ["their-role", "a360", "a360-idle-culler"]
    assert c.JupyterHub.extra_user_scopes == {"tokens!user", "access:services!service=a360"}
    assert c.JupyterHub.allow_named_servers
    assert "command" not in c.JupyterHub.services[1]
    assert "spawner_class" not in c.JupyterHub


def test_a_service_that_runs_elsewhere_needs_a_token(key_file: Path) -> None:
    with pytest.raises(ValueError, match="api_token"):
        install_a360(Config(), public_url="https://hub.example.org", options_key_file=key_file)


@pytest.mark.parametrize(
    ("direct", "expected"),
    [
        (False, "https://hub.example.org/jupyter/services/a360/api/v1"),
        (True, "http://a360:10101/jupyter/services/a360/api/v1"),
    ],
)
def test_workspaces_call_the_address_they_can_reach(key_file: Path, direct: bool, expected: str) -> None:
    c = Config()
    install_a360(
        c,
        public_url="https://hub.example.org/jupyter",
        options_key_file=key_file,
        service_url="http://a360:10101",
        api_token="t" * 32,
        workspaces_use_service_url=direct,
    )
    target = spawner(sign(KEY, "ann", "ws", OPTIONS))
    asyncio.run(run_hook(c.Spawner.pre_spawn_hook, target))
    assert target.environment["A360_API_URL"] == expected


def test_a_hook_of_ones_own_spawner_class_runs_after_ours_and_not_instead(key_file: Path) -> None:
    seen: list[str] = []
    c = Config()
    c.KubeSpawner.pre_spawn_hook = lambda target: seen.append(target.environment["A360_PROJECT_NAME"])
    install_a360(c, public_url="https://hub.example.org", options_key_file=key_file, api_token="t" * 32)
    assert "pre_spawn_hook" not in c.KubeSpawner
    with pytest.raises(HTTPError):
        asyncio.run(run_hook(c.Spawner.pre_spawn_hook, spawner({})))
    assert seen == []
    asyncio.run(run_hook(c.Spawner.pre_spawn_hook, spawner(sign(KEY, "ann", "ws", OPTIONS))))
    assert seen == [OPTIONS.project_name]


def test_scopes_stay_small() -> None:
    for scope in [*SERVICE_SCOPES, *CULLER_SCOPES]:
        assert scope not in {
            "admin:auth_state",
            "tokens",
            "admin:users",
            "servers",
            "start:servers",
            "admin-ui",
        }


@given(st.text(min_size=1, max_size=40))
def test_homes_of_different_users_never_meet_or_leave(name: str) -> None:
    home = workspace_home(Path("/state"), name, "0" * 32)
    assert home.parent.parent == Path("/state/workspaces")
    assert home.resolve() == home
    assert workspace_home(Path("/state"), name + "x", "0" * 32) != home
