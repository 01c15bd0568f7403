"""The chart: what it renders is valid and restricted, and starts the service beside a real Hub."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import helm_python as helm
import httpx
import kubernetes_validate
import pytest
import yaml
from cryptography.fernet import Fernet
from traitlets.config.loader import PyFileConfigLoader

from tests.support.hub import SignedIn
from tests.support.postgres import Server
from tests.support.service import ROOT, free_port, wait_for

CHART = ROOT / "helm" / "a360"
HUB_VALUES = yaml.safe_load((CHART / "hub-values.yaml").read_text())
SECRETS: dict[str, Any] = {
    "create": True,
    "databaseUrl": "postgresql+psycopg://a360@db/a360",
    "encryptionKeys": [Fernet.generate_key().decode(), Fernet.generate_key().decode()],
    "hubToken": "t" * 40,
    "workspaceOptionsKey": "k" * 40,
}
VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
        "image": {"repository": "registry.example.org/a360/service", "tag": "1.2.3"},
        "imagePullSecrets": [{"name": "registry"}],
        "hub": {"url": "http://hub:8081", "baseUrl": "/j/", "publicUrl": "https://hub.example.org"},
        "secrets": SECRETS,
        "config": {"JobEngine": {"concurrency": 7}, "A360HubService": {"group_roles": {'a "b"\n': []}}},
        "extraEnv": {"A360_PROFILES": "/srv/profiles", "HTTPS_PROXY": "http://proxy:3128"},
        "gateway": {
            "port": 9000,
            "publicUrl": "https://models.example.org",
            "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        },
        "persistence": {"size": "1Ti", "storageClass": "fast"},
    },
    "publishes in its own cluster": {"kubernetes": {"enabled": True}},
    "nothing of its own": {"persistence": {"existingClaim": "disk"}, "networkPolicy": {"enabled": False}},
}
each_values = pytest.mark.parametrize("values", VALUES.values(), ids=list(VALUES))
Manifests = dict[str, dict[str, Any]]


def render(values: dict[str, Any], name: str = "a360") -> Manifests:
    with helm.Chart.load(CHART) as chart:
        texts = chart.render(values, name=name, namespace="hub").values()
    return {found["kind"]: found for text in texts for found in yaml.safe_load_all(text) if found}


def pod_of(manifests: Manifests) -> dict[str, Any]:
    pod: dict[str, Any] = manifests["Deployment"]["spec"]["template"]
    return pod


@each_values
def test_the_chart_is_clean_and_its_manifests_are_valid(values: dict[str, Any]) -> None:
    report = helm.lint(CHART, values, strict=True)
    assert report["errors"] == []
    assert [m["error"] for m in report["messages"] if m["severity"] > 1] == []
    manifests = render(values)
    assert len(manifests) == 7 - sum(
        (
            not values.get("secrets"),
            "networkPolicy" in values,
            "existingClaim" in values.get("persistence", {}),
        )
    ) + 2 * ("kubernetes" in values)
    for version in ("1.28", "1.34"):
        for manifest in manifests.values():
            kubernetes_validate.validate(manifest, version, strict=True)


@each_values
def test_pods_keep_to_the_restricted_standard(values: dict[str, Any]) -> None:
    manifests = render(values)
    spec = pod_of(manifests)["spec"]
    assert spec["automountServiceAccountToken"] == ("kubernetes" in values)
    assert not manifests["ServiceAccount"]["automountServiceAccountToken"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*spec["initContainers"], *spec["containers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        for bound in ("requests", "limits"):
            assert set(container["resources"][bound]) == {"cpu", "memory"}
    written = yaml.safe_dump([manifest for kind, manifest in manifests.items() if kind != "Secret"])
    for secret in (SECRETS["hubToken"], SECRETS["databaseUrl"], SECRETS["workspaceOptionsKey"]):
        assert secret not in written


@each_values
def test_what_refers_to_each_other_fits(values: dict[str, Any]) -> None:
    manifests = render(values)
    pod, service = pod_of(manifests), manifests["Service"]["spec"]
    labels = pod["metadata"]["labels"].items()
    assert service["selector"].items() <= labels
    assert manifests["Deployment"]["spec"]["selector"]["matchLabels"].items() <= labels
    container = pod["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {port["targetPort"]: port["port"] for port in service["ports"]} == ports
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["spec"]["volumes"]}
    if policy := manifests.get("NetworkPolicy"):
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels
        (first, *others) = policy["spec"]["ingress"]
        (peer,) = first["from"]
        assert peer["podSelector"]["matchExpressions"][0]["values"] == ["proxy", "hub", "singleuser-server"]
        assert all(rule["ports"] == [{"port": "endpoints"}] for rule in others)


def test_the_values_for_the_hub_fit_the_chart() -> None:
    manifests = render({"secrets": SECRETS})
    name, hub = manifests["Service"]["metadata"]["name"], HUB_VALUES["hub"]
    assert hub["extraEnv"]["A360_SERVICE_URL"] == f"http://{name}:10101"
    script = manifests["ConfigMap"]["data"]["a360_service_config.py"]
    assert f'c.Gateway.public_url = "http://{name}:8010"' in script
    volume = hub["extraVolumes"][0]["secret"]
    assert volume["secretName"] == manifests["Secret"]["metadata"]["name"]
    # The Hub gets neither the database's password nor the keys of stored credentials.
    assert {item["key"] for item in volume["items"]} == {"hub-token", "workspace-options.key"}
    assert {item["key"] for item in volume["items"]} < set(manifests["Secret"]["stringData"])
    assert hub["extraEnv"]["A360_SECRETS"] == hub["extraVolumeMounts"][0]["mountPath"]
    egress = HUB_VALUES["singleuser"]["networkPolicy"]["egress"][0]
    labels = pod_of(manifests)["metadata"]["labels"].items()
    assert egress["to"][0]["podSelector"]["matchLabels"].items() <= labels
    assert [p["port"] for p in egress["ports"]] == [p["port"] for p in manifests["Service"]["spec"]["ports"]]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replicas": 2}, "additional properties 'replicas' not allowed"),
        ({"gateway": {"port": "http"}}, "'/gateway/port': got string, want integer"),
        ({"hub": {"publicUrl": "hub.example.org"}}, "/hub/publicUrl"),
        ({"persistence": {"size": "plenty"}}, "/persistence/size"),
        ({"config": {"jobEngine": {}}}, "'/config': additional properties 'jobEngine' not allowed"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
        ({"secrets": {"create": True}}, "/secrets/databaseUrl"),
        ({"secrets": {**SECRETS, "databaseUrl": "sqlite:///a.db"}}, "/secrets/databaseUrl"),
        (
            {"secrets": {**SECRETS, "encryptionKeys": []}},
            "'/secrets/encryptionKeys': minItems: got 0, want 1",
        ),
        ({"secrets": {**SECRETS, "encryptionKeys": ["guess"]}}, "/secrets/encryptionKeys/0"),
        ({"secrets": {**SECRETS, "hubToken": "short"}}, "'/secrets/hubToken': minLength: got 5, want 32"),
    ],
)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], said: str) -> None:
    with pytest.raises(helm.HelmValuesError) as refused:
        render(values)
    assert said in str(refused.value)


def test_settings_reach_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifests = render(VALUES["everything"])
    env, _ = Node(tmp_path, manifests).container("containers")
    monkeypatch.setenv("A360_SECRETS", env["A360_SECRETS"])
    path = Path(env["A360_SERVICE_CONFIG"])
    config = PyFileConfigLoader(path.name, str(path.parent)).load_config()
    assert config.JobEngine.concurrency == 7
    assert config.A360HubService.database_url == SECRETS["databaseUrl"]
    assert config.A360HubService.public_url == "https://hub.example.org/j/services/a360"
    assert config.A360HubService.group_roles == {'a "b"\n': []}
    assert (config.Gateway.host, config.Gateway.port) == ("0.0.0.0", 9000)
    assert config.Gateway.public_url == "https://models.example.org"
    assert Path(config.A360HubService.secret_keys_file).read_text().split() == SECRETS["encryptionKeys"]


class Node:
    """What a kubelet makes of the pod, as far as processes see it: folders and environment."""

    def __init__(self, folder: Path, manifests: Manifests) -> None:
        self.folder, self.manifests = folder, manifests
        self.spec = pod_of(manifests)["spec"]
        self.secret: dict[str, str] = manifests["Secret"]["stringData"]
        for volume in self.spec["volumes"]:
            (folder / volume["name"]).mkdir()
        write(folder / "config", manifests["ConfigMap"]["data"])
        write(folder / "secrets", self.secret)

    def container(self, kind: str) -> tuple[dict[str, str], list[str]]:
        """Environment and arguments of the only container of this kind."""
        (container,) = self.spec[kind]
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        env = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        for item in container["env"]:
            value = item.get("value") or self.secret[item["valueFrom"]["secretKeyRef"]["key"]]
            for path, name in mounts.items():
                if value == path or value.startswith(path + "/"):
                    value = f"{self.folder / name}{value.removeprefix(path)}"
            env[item["name"]] = value
        return env, container["args"]


def write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


@contextmanager
def running(command: list[str], env: dict[str, str], folder: Path, health: str) -> Iterator[None]:
    """A process, from when it is healthy."""
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=env, cwd=folder, stdout=out, stderr=out,
            # A suite started in the background of a script ignores SIGINT, and so would what this starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    def healthy() -> bool:
        return process.poll() is not None or httpx.get(health, trust_env=False).status_code == 200

    try:
        wait_for(healthy, seconds=90, message=f"no answer from {health}")
        assert process.poll() is None, log.read_text()[-4000:]
        yield
    finally:
        process.terminate()
        process.wait(60)


HUB_CONFIG = """
c.JupyterHub.bind_url = "http://127.0.0.1:{public}/j/"
c.JupyterHub.hub_port = {hub}
c.JupyterHub.db_url = "sqlite://"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "theirs"
c.Authenticator.allow_all = True
c.JupyterHub.load_groups = {{"Data Scientists": {{"users": ["ann"]}}}}
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.proxy_class = "hub_config.proxy.EmbeddedTraefikProxy"  # gone when the Hub is gone
c.TraefikProxy.traefik_api_url = "http://127.0.0.1:{api}"
# As zero-to-jupyterhub runs hub.extraConfig.
for name, text in sorted({extra!r}.items()):
    exec(text)
"""


@pytest.mark.long
@pytest.mark.xdist_group("hub")
def test_what_is_rendered_is_a_service_of_a_hub(tmp_path: Path, postgresql: Server) -> None:
    ports = {name: free_port() for name in ("public", "hub", "api", "service")}
    public = f"http://127.0.0.1:{ports['public']}"
    values = {
        "secrets": {**SECRETS, "databaseUrl": postgresql.new_database()},
        "hub": {"url": f"http://127.0.0.1:{ports['hub']}", "baseUrl": "/j/", "publicUrl": public},
        "gateway": {"port": free_port()},
    }
    (tmp_path / "node").mkdir()
    node = Node(tmp_path / "node", render(values))
    env, arguments = node.container("initContainers")
    subprocess.run(arguments, env=env, cwd=node.folder, check=True)
    env, arguments = node.container("containers")
    # Here the pod has no address of its own.
    assert env["JUPYTERHUB_SERVICE_URL"] == "http://0.0.0.0:10101"
    env["JUPYTERHUB_SERVICE_URL"] = f"http://127.0.0.1:{ports['service']}"
    (probe,) = {
        node.spec["containers"][0][kind]["httpGet"]["path"]
        for kind in ("startupProbe", "readinessProbe", "livenessProbe")
    }

    hub = tmp_path / "hub"
    items = HUB_VALUES["hub"]["extraVolumes"][0]["secret"]["items"]
    write(hub, {"config.py": HUB_CONFIG.format(extra=HUB_VALUES["hub"]["extraConfig"], **ports)})
    write(hub / "secrets", {item["path"]: node.secret[item["key"]] for item in items})
    hub_env = {
        **os.environ,
        **{name: value for name, value in env.items() if name == "PATH"},
        **HUB_VALUES["hub"]["extraEnv"],
        "A360_PUBLIC_URL": f"{public}/j",
        "A360_SERVICE_URL": env["JUPYTERHUB_SERVICE_URL"],
        "A360_SECRETS": str(hub / "secrets"),
    }
    with (
        running(arguments, env, node.folder, f"{env['JUPYTERHUB_SERVICE_URL']}{probe}"),
        running([sys.executable, "-m", "jupyterhub", "-f", "config.py"], hub_env, hub, f"{public}{probe}"),
        SignedIn(public, "ann", "theirs", base="/j") as browser,
    ):
        page = browser.get("/j/")
        assert (page.status_code, page.url.path) == (200, "/j/services/a360/")
        me = browser.api("GET", "/me").json()
        assert (me["name"], me["roles"]) == ("ann", ["data_scientist"])
        direct = f"{env['JUPYTERHUB_SERVICE_URL']}/j/services/a360/api/v1/me"
        token = {"Authorization": f"Bearer {browser.make_token()}"}
        assert httpx.get(direct, headers=token, trust_env=False).json() == me
        assert httpx.get(direct, trust_env=False).status_code == 401
        targets = {t["name"] for t in browser.api("GET", "/targets").json()["items"]}
        assert targets == {"process"}
