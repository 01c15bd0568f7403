"""A real Kubernetes cluster, and what tests of it share."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.endpoints import KEY, ROW, Calls

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
