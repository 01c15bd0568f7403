"""Workspaces on a real Hub: made in A360, run on an image of their own, within their limits."""

import json
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from spawner_profiles.catalogue import HERE
from tests.support.hub import Platform, platform
from tests.support.kernel import CellError, Kernel
from tests.support.service import project_form, wait_for

pytestmark = pytest.mark.xdist_group("hub")


@pytest.fixture(scope="module")
def running(hub_platform: Platform) -> Platform:
    return hub_platform


@pytest.fixture(scope="module")
def project(running: Platform) -> dict[str, Any]:
    with running.client("scientist") as client:
        made = client.post("/projects", json=project_form("Customer Churn", "hub-churn"))
        assert made.status_code == 201, made.text
        answer: dict[str, Any] = made.json()
        added = client.put(f"/projects/{answer['id']}/collaborators/reviewer")
        assert added.status_code == 200, added.text
    return answer


@pytest.fixture(scope="module")
def workspace(running: Platform, project: dict[str, Any]) -> dict[str, Any]:
    """One running workspace for the tests that only look."""
    return running.start_workspace("scientist", project["id"], "Shared by tests", memory="1Gi")


@pytest.fixture
def kernel(running: Platform, workspace: dict[str, Any]) -> Iterator[Kernel]:
    with Kernel(running.url + workspace["url"], running.token("scientist")) as started:
        yield started


def form(**changes: Any) -> dict[str, Any]:
    name = f"w {uuid.uuid4().hex[:8]}"
    return {"name": name, "image": "a360-local-sklearn", "cpu": 1, "memory": "1Gi", **changes}


@pytest.mark.row("F223", "F224", "F231", "F237", "M005", "M099")
def test_a_workspace_opens_jupyterlab_of_its_project(
    running: Platform, project: dict[str, Any], workspace: dict[str, Any], kernel: Kernel
) -> None:
    assert workspace["status"] == "running"
    assert workspace["url"] == f"/user/scientist/{workspace['server_name']}/"
    with running.sign_in("scientist") as browser:
        page = browser.get(workspace["url"])
        assert page.status_code == 200
        assert page.url.path.startswith(f"{workspace['url']}lab")
        assert "JupyterLab" in page.text
    names = ("API_URL", "PROJECT_ID", "PROJECT_NAME", "WORKSPACE_ID", "IMAGE")
    printed = kernel.run(f"import os\nfor n in {names}: print(os.environ['A360_' + n])").split("\n")
    assert printed[:5] == [
        f"{running.url}/services/a360/api/v1",
        project["id"],
        "Customer Churn",
        workspace["id"],
        "a360-local-sklearn",
    ]


@pytest.mark.row("M003", "M004")
def test_kernels_know_the_kit_without_an_import(kernel: Kernel) -> None:
    assert "<A360 AI Interface for project: Customer Churn>" in kernel.run("a360ai")
    assert "Customer Churn data" in kernel.run("%a360 status")
    kernel.run("experiment = a360ai.get_or_create_experiment('m', '1.0', 'e', 'sklearn', [[1.0]], [1.0])")
    assert "of e: finished." in kernel.run("%%a360_run experiment --metrics score\nscore = 1")


def test_a_kernel_may_call_the_service_but_not_the_hub(kernel: Kernel) -> None:
    kernel.run(
        "import os, requests\n"
        "head = {'Authorization': 'token ' + os.environ['JUPYTERHUB_API_TOKEN']}\n"
        "service, hub = os.environ['A360_API_URL'], os.environ['JUPYTERHUB_API_URL']"
    )
    assert (
        kernel.run("print(requests.get(service + '/me', headers=head).json()['name'])").strip() == "scientist"
    )
    assert kernel.run("print(requests.get(hub + '/users', headers=head).status_code)").strip() == "403"
    # A workspace's token starts no workspaces: that takes the user's own.
    kernel.run("mine = service + '/workspaces/' + os.environ['A360_WORKSPACE_ID']")
    assert kernel.run("print(requests.post(mine + '/start', headers=head).status_code)").strip() == "403"


@pytest.mark.row("M012")
def test_home_is_where_notebooks_say_it_is(kernel: Kernel) -> None:
    kernel.run(
        "import os, pathlib, pandas\n"
        "a360ai.write_dataset(pandas.DataFrame({'a': [1]}), 'at_home.csv', overwrite=True)\n"
        "a360ai.get_file('at_home.csv', '/home/jovyan/at_home.csv')"
    )
    said = kernel.run(
        "home = pathlib.Path.home(); print(os.getcwd() == str(home), os.environ['HOME'] == str(home))"
    )
    assert said.split() == ["True", "True"]
    assert kernel.run("print((home / 'at_home.csv').read_text())").split() == ["a", "1"]


def test_a_notebook_is_captured_by_the_workspace_itself(
    running: Platform, workspace: dict[str, Any], kernel: Kernel
) -> None:
    kernel.run(
        "import nbformat\n"
        "cells = ['who = 1', 'print(who, a360ai.project_name)']\n"
        "made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in cells])\n"
        "made.cells[0].metadata['tags'] = ['parameters']\n"
        "nbformat.write(made, 'capture.ipynb')\n"
        "a360ai.get_or_create_experiment('captured', '1.0', 'nightly', 'sklearn', [[1.0]], [1.0])\n"
        "capture = a360ai.capture('capture.ipynb', {'who': 7}, time_limit=300, wait=True)"
    )
    run_id = kernel.run("print(capture.state, capture.run_id)").split()
    assert run_id[0] == "finished"
    with running.client("scientist") as client:
        run = client.get(f"/runs/{run_id[1]}").json()
        artifact = next(each for each in run["artifacts"] if each["name"] == "executed_notebook")
        assert "7 Customer Churn" in client.get(f"/artifacts/{artifact['id']}/content").text
    with running.sign_in("scientist") as browser:
        page = browser.get(f"/services/a360/artifacts/{artifact['id']}/notebook")
        assert page.status_code == 200, page.text
        assert "7 Customer Churn" in page.text
        assert "sandbox" in page.headers["Content-Security-Policy"]
        # The panels of the workspace ask the same routes, with the Hub's cookie and its XSRF token.
        assert browser.get(workspace["url"]).status_code == 200  # which signs in there, too
        captures = f"{workspace['url']}a360/captures"
        (found,) = browser.page_call("GET", captures).json()["captures"]
        assert (found["state"], found["run_id"]) == ("finished", run_id[1])
        forged = browser.delete(f"{captures}/{found['id']}")
        assert forged.status_code in (401, 403)
        assert browser.page_call("DELETE", f"{captures}/{found['id']}").status_code == 204
    other = httpx.get(
        f"{running.url}{workspace['url']}a360/captures",
        headers={"Authorization": f"token {running.token('reviewer')}"},
    )
    assert other.status_code == 403


@pytest.mark.row("M011")
def test_pip_in_a_cell_counts_in_the_next(kernel: Kernel, tmp_path: Path) -> None:
    wheel = tmp_path / "a360_tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a360_tiny.py", "value = 42")
        archive.writestr(
            "a360_tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: a360-tiny\nVersion: 1.0\n"
        )
        archive.writestr("a360_tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("a360_tiny-1.0.dist-info/RECORD", "")
    printed = kernel.run(f"!pip install --no-index {wheel}")
    assert "Successfully installed a360-tiny-1.0" in printed, printed
    assert kernel.run("import a360_tiny, sys; print(a360_tiny.value, sys.prefix)").startswith("42 ")
    assert "scikit-learn" in kernel.run("!pip list")


@pytest.mark.row("M010")
def test_the_image_holds_what_notebooks_import(kernel: Kernel) -> None:
    kernel.run(
        "import altair, bs4, h5py, joblib, matplotlib, nbconvert, numpy, onnx, onnxruntime, openpyxl\n"
        "import patsy, PIL, pyarrow, scipy, seaborn, sklearn, skl2onnx, pandas, a360runtime, a360mdk\n"
        "assert int(pandas.__version__.split('.')[0]) < 3\n"
        "f = pandas.DataFrame({'a': ['x', 'y']})\n"
        "f['a'].replace('x', 'z', inplace=True)\n"
        "assert list(f['a']) == ['z', 'y']"
    )


@pytest.mark.row("F228", "F229")
def test_memory_is_really_limited_and_the_answer_says_so(
    running: Platform, workspace: dict[str, Any], kernel: Kernel
) -> None:
    limits = workspace["limits"]
    assert limits["memory_applied"] is True
    assert limits["cpu_applied"] or "CPU" in limits["note"]
    assert kernel.run("print(len(b'x' * 2**27))").strip() == str(2**27)
    with pytest.raises(CellError) as died:
        kernel.run("x = []\nwhile True: x.append(b'x' * 2**24)")
    assert died.value.name in ("KernelDied", "MemoryError")
    with running.client("scientist") as client:  # only the kernel fell
        assert client.get(f"/workspaces/{workspace['id']}").json()["status"] == "running"


@pytest.mark.row("F233", "F234", "F236", "F238", "F239", "F232")
def test_life_of_a_workspace(running: Platform, project: dict[str, Any]) -> None:
    with running.client("scientist") as client:
        made = client.post(f"/projects/{project['id']}/workspaces", json=form(name="Life")).json()
        path = f"/workspaces/{made['id']}"
        assert (made["status"], made["url"], made["limits"]) == ("stopped", None, None)
        with running.sign_in("scientist") as browser:
            started = browser.api("POST", f"{path}/start")
        assert started.status_code == 202, started.text
        assert started.json()["status"] in ("starting", "running")
        again = client.post(f"{path}/start")
        assert again.status_code in (202, 409), again.text
        first = running.wait_workspace("scientist", made["id"], "running")
        with Kernel(running.url + first["url"], running.token("scientist")) as kernel:
            kernel.run("open('kept.txt', 'w').write('work')")
        refused = client.patch(path, json={"memory": "2Gi"})
        assert refused.status_code == 409
        assert "Stop it first" in refused.json()["hint"]
        assert client.post(f"{path}/start").status_code == 409

        assert client.post(f"{path}/stop").status_code == 202
        running.wait_workspace("scientist", made["id"], "stopped")
        assert client.post(f"{path}/stop").status_code == 202
        changed = client.patch(path, json={"memory": "2Gi", "cpu": 2})
        assert (changed.status_code, changed.json()["memory"], changed.json()["cpu"]) == (200, "2Gi", 2)
        assert changed.json()["image"] == "a360-local-sklearn"

        second = running.run_workspace("scientist", made["id"])
        with Kernel(running.url + second["url"], running.token("scientist")) as kernel:
            assert kernel.run("print(open('kept.txt').read())").strip() == "work"
            assert kernel.run("import os; print(os.environ['OMP_NUM_THREADS'])").strip() == "2"
        home = running.home / "workspaces" / "scientist" / made["id"]
        volume = running.home / "volumes" / "hub-churn"
        (volume / "kept-artifact").write_text("stays")
        assert home.is_dir()
        assert client.delete(path).status_code == 204
        assert not home.exists()
        assert (volume / "kept-artifact").exists()
        assert client.get(path).status_code == 404
    with running.sign_in("scientist") as browser:
        servers = browser.page_call("GET", "/hub/api/users/scientist").json().get("servers", {})
        assert made["server_name"] not in servers


@pytest.mark.row("F238")
def test_a_workspace_that_never_ran_can_be_deleted(running: Platform, project: dict[str, Any]) -> None:
    with running.client("scientist") as client:
        made = client.post(f"/projects/{project['id']}/workspaces", json=form()).json()
        assert client.delete(f"/workspaces/{made['id']}").status_code == 204
        assert client.get(f"/workspaces/{made['id']}").status_code == 404


@pytest.mark.row("F190")
def test_collaborators_see_workspaces_and_only_owners_use_them(
    running: Platform, project: dict[str, Any], workspace: dict[str, Any]
) -> None:
    path = f"/workspaces/{workspace['id']}"
    with running.client("reviewer") as client:
        seen = client.get(f"/projects/{project['id']}/workspaces").json()["items"]
        assert workspace["id"] in [item["id"] for item in seen]
        assert client.get("/workspaces").json()["items"] == []
        for method, where in (("POST", "/start"), ("POST", "/stop"), ("DELETE", "")):
            answer = client.request(method, path + where)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), answer.text
        assert client.patch(path, json={"cpu": 2}).status_code == 403
    answer = httpx.get(
        f"{running.url}{workspace['url']}api/status",
        headers={"Authorization": f"token {running.token('reviewer')}"},
    )
    assert answer.status_code == 403
    with running.client("engineer") as client:
        assert client.get(path).status_code == 404


@pytest.mark.row("F189", "F232", "F238")
def test_workspaces_of_somebody_who_left_are_stopped_and_may_be_cleared_away(running: Platform) -> None:
    with running.client("scientist") as client, running.client("reviewer") as leaving:
        project = client.post("/projects", json=project_form("Short Stay", "short-stay")).json()
        member = f"/projects/{project['id']}/collaborators/reviewer"
        assert client.put(member).status_code == 200
        made = running.start_workspace("reviewer", project["id"], "Left behind")
        path = f"/workspaces/{made['id']}"
        assert client.post(f"{path}/stop").status_code == 403, "a member's own"
        page = leaving.get(f"{running.url}/services/a360/").text
        assert '<span class="state w-running">running</span>' in page
        assert client.delete(member).status_code == 204
        running.wait_workspace("scientist", made["id"], "stopped")
        assert leaving.post(f"{path}/start").status_code == 404
        assert client.post(f"{path}/start").status_code == 403
        refused = client.delete(f"/projects/{project['id']}")
        assert (refused.status_code, "1 workspaces" in refused.json()["detail"]) == (409, True)
        assert client.delete(path).status_code == 204
        assert client.delete(f"/projects/{project['id']}").status_code == 204
    assert not (running.home / "workspaces" / "reviewer" / made["id"]).exists()


@pytest.mark.row("F037")
def test_the_hub_starts_only_what_a360_asked_for(running: Platform, workspace: dict[str, Any]) -> None:
    with running.sign_in("scientist") as browser:
        stolen = browser.page_call(
            "GET", f"/hub/api/users/scientist/servers/{workspace['server_name']}"
        ).json()
        for server, options in (("mine", {}), ("mine", {"a360": {"x": 1}}), ("mine", stolen["user_options"])):
            body = {"user_options": options, "display_name": "mine"}
            answer = browser.page_call("POST", f"/hub/api/users/scientist/servers/{server}", json=body)
            assert answer.status_code == 403, answer.text
            assert "A360" in answer.json()["message"]
        assert browser.page_call("POST", "/hub/api/users/scientist/server").status_code == 403


@pytest.mark.long
@pytest.mark.row("F235")
def test_idle_workspaces_stop_busy_ones_go_on_and_failed_ones_say_why(tmp_path: Path) -> None:
    with platform(tmp_path / "home", env={"A360_PROFILES": str(own_catalogue(tmp_path))}) as short:
        with short.client("scientist") as client:
            made = client.post("/projects", json=project_form("Idle", "idle-data")).json()
        busy = short.start_workspace("scientist", made["id"], "busy")
        with Kernel(short.url + busy["url"], short.token("scientist")) as kernel:
            # It computes without a word for longer than a workspace may idle.
            kernel.send("import time; time.sleep(300)")
            idle = short.start_workspace("scientist", made["id"], "idle")
            short.wait_workspace("scientist", idle["id"], "stopped", seconds=60)
            with short.client("scientist") as client:
                assert client.get(f"/workspaces/{busy['id']}").json()["status"] == "running"
        with short.client("scientist") as client:
            broken = client.post(f"/projects/{made['id']}/workspaces", json=form(image="a360-broken-sklearn"))
            path = f"/workspaces/{broken.json()['id']}"
            client.post(f"{path}/start")
            failed = wait_for(
                lambda: (found := client.get(path).json())["status"] == "failed" and found, seconds=60
            )
            assert "no-such-package-a360" in failed["message"]
            changed = client.patch(path, json={"image": "a360-local-sklearn"})
            assert changed.json()["image"] == "a360-local-sklearn"
            assert client.delete(path).status_code == 204


def own_catalogue(folder: Path) -> Path:
    """An operator's catalogue: workspaces idle for twelve seconds, and one image cannot be built."""
    profiles = folder / "profiles"
    (profiles / "images").mkdir(parents=True)
    for path in (HERE / "images").iterdir():
        (profiles / "images" / path.name).write_bytes(path.read_bytes())
    broken = {"name": "a360-broken-sklearn", "flavor": "sklearn", "title": "Broken", "packages": []}
    (profiles / "images" / "broken.yaml").write_text(json.dumps({**broken, "lock": "broken.lock"}))
    (profiles / "images" / "broken.lock").write_text(f"no-such-package-a360==1.0 --hash=sha256:{'0' * 64}\n")
    size = {"name": "s", "title": "S", "cpu": 4, "memory": "8Gi", "image": "a360-local-sklearn"}
    (profiles / "profiles.yaml").write_text(json.dumps([{**size, "idle_hours": 12 / 3600}]))
    return profiles
