"""A real Kubernetes cluster, and what tests of it share."""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import requests
import yaml

from tests.support.endpoints import KEY, ROW, Calls, eventually, free_port

SCRIPT = """\
import json
import os
import sys

import numpy as np

if os.environ.get("CRASH"):
    print("the weights are not where they should be")
    sys.exit(3)
if os.environ.get("EAT"):
    full = np.ones(int(os.environ["EAT"]), dtype=np.uint8)


def predict(artifact_list, payload):
    row = json.loads(payload)
    if "environment" in row:
        return os.environ.get(row["environment"])
    if "written" in row:
        open(row["written"], "w").close()
        return "written"
    if "sleep" in row:
        import time
        time.sleep(row["sleep"])
        return row["sleep"]
    values = np.array(list(row.values()), dtype=float).reshape(1, -1)
    return float(artifact_list[0].predict(values)[0])
"""


def kubeconfig_of_tests() -> Path:
    """Return the kubeconfig of the cluster tests may use; skips where there is none."""
    found = os.environ.get("A360_TEST_KUBECONFIG") or os.environ.get("KUBECONFIG", "")
    if not found or not Path(found).exists():
        pytest.skip("no cluster: set A360_TEST_KUBECONFIG to the kubeconfig of one that tests may use")
    return Path(found)


def kubectl(*arguments: str) -> Any:
    """Return what kubectl says, as JSON: another eye than the platform's."""
    command = ["kubectl", f"--kubeconfig={kubeconfig_of_tests()}", *arguments, "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"items": [], "error": done.stderr}
    return json.loads(done.stdout)


def leftovers(platform: str) -> list[str]:
    """Return everything in the cluster that bears the label of a platform."""
    kinds = "ns,deploy,rs,pods,svc,secrets,hpa,pdb,netpol,ingress"
    found = kubectl("get", kinds, "--all-namespaces", "-l", f"a360.platform={platform}")["items"]
    return [f"{each['kind']} {each['metadata']['name']}" for each in found]


@contextmanager
def steadily(url: str, per_second: float, callers: int = 8) -> Iterator[Calls]:
    """Call at a steady rate from several threads while the block runs, each call on time."""
    calls, stop, began = Calls(), threading.Event(), time.monotonic()

    def work(number: int) -> None:
        due = began + number / per_second
        with requests.Session() as session:
            while not stop.wait(max(0.0, due - time.monotonic())):
                due += callers / per_second
                try:
                    headers = {"Content-Type": "application/json", "apikey": KEY}
                    answer = session.post(url, data=json.dumps(ROW), headers=headers, timeout=30)
                    if answer.status_code == 200 and answer.json() == {"prediction": 0.0}:
                        calls.good += 1
                    else:
                        calls.bad.append(f"{answer.status_code} {answer.text}")
                except requests.RequestException as error:
                    calls.bad.append(str(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield calls
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def create(*manifests: dict[str, Any]) -> None:
    """Make objects in the cluster."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
    command = ["kubectl", f"--kubeconfig={kubeconfig_of_tests()}", "apply", "-f", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def delete(*things: str) -> None:
    """Delete objects, named as kubectl wants them."""
    command = ["kubectl", f"--kubeconfig={kubeconfig_of_tests()}", "delete", "--ignore-not-found", *things]
    subprocess.run(command, capture_output=True, check=False)


def knows(crd: str) -> bool:
    """Does the cluster know this kind of objects?"""
    return "error" not in kubectl("get", "crd", crd)


def server_of_tests() -> tuple[str, str]:
    """Return address and authority (PEM) of the cluster of tests."""
    found = yaml.safe_load(kubeconfig_of_tests().read_text())["clusters"][0]["cluster"]
    authority = base64.b64decode(found["certificate-authority-data"]).decode()
    return str(found["server"]), authority


@contextmanager
def account_of_the_chart(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Be the service in the cluster that the chart installed, with its rights and no others.

    Yields what takes the rights over a kind of things away.
    """
    name = f"a360-test-{os.getpid()}"
    with helm.Chart.load(Path(__file__).parents[2] / "helm" / "a360") as chart:
        texts = chart.render({"kubernetes": {"enabled": True}}, name=name, namespace=name).values()
    rendered = [found for text in texts for found in yaml.safe_load_all(text) if found]
    account = next(each for each in rendered if each["kind"] == "ServiceAccount")
    account["metadata"]["namespace"] = name
    role, binding = (
        next(each for each in rendered if each["kind"] == kind)
        for kind in ("ClusterRole", "ClusterRoleBinding")
    )
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    create(space, account, role, binding)
    server, authority = server_of_tests()
    host, _, port = server.removeprefix("https://").partition(":")
    asked = ["-n", name, "create", "token", account["metadata"]["name"]]
    folder.mkdir()
    (folder / "token").write_text(kubectl(*asked)["status"]["token"])
    (folder / "ca.crt").write_text(authority)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port or "443")

    def take_away(resource: str) -> None:
        rules = [rule for rule in role["rules"] if resource not in rule["resources"]]
        create(role | {"rules": rules})

    try:
        yield take_away
    finally:
        for kind, found in (("clusterrolebinding", binding), ("clusterrole", role), ("namespace", space)):
            delete(kind, found["metadata"]["name"])


@contextmanager
def ingress_controller(folder: Path, name: str) -> Iterator[str]:
    """Run traefik as the controller of an IngressClass of its own; yields where it listens."""
    server, authority = server_of_tests()
    (folder / "authority.pem").write_text(authority)
    token = yaml.safe_load(kubeconfig_of_tests().read_text())["users"][0]["user"]["token"]
    spec = {"controller": "traefik.io/ingress-controller"}
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass"}
    create(kind | {"metadata": {"name": name}, "spec": spec})
    ports = [free_port(), free_port()]
    command = [
        str(Path(sys.executable).with_name("traefik")),
        f"--entryPoints.web.address=127.0.0.1:{ports[0]}",
        f"--entryPoints.traefik.address=127.0.0.1:{ports[1]}",
        f"--providers.kubernetesIngress.endpoint={server}",
        f"--providers.kubernetesIngress.token={token}",
        f"--providers.kubernetesIngress.certAuthFilePath={folder / 'authority.pem'}",
        f"--providers.kubernetesIngress.ingressClass={name}",
        "--global.checkNewVersion=false",
        "--global.sendAnonymousUsage=false",
    ]
    with (folder / "traefik.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{ports[0]}"
    try:
        eventually(lambda: process.poll() is not None or _listens(address))
        assert process.poll() is None, (folder / "traefik.log").read_text()
        yield address
    finally:
        process.kill()
        process.wait()
        delete("ingressclass", name)


def _listens(address: str) -> bool:
    try:
        return requests.get(address, timeout=2).status_code == 404
    except requests.RequestException:
        return False
