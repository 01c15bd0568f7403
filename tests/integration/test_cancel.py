"""Jobs are cancelled wherever they are, and leave nothing behind."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.delivery import PREDICTION, ROW, SCRIPT, SIZES, Delivery, call, delivery_service, ok
from tests.support.service import ServiceProcess, wait_for

NAP = SCRIPT.replace("    rows =", "    import time; time.sleep(600)\n    rows =")


@contextmanager
def silent_server() -> Iterator[int]:
    """A server that takes connections and never answers; its port."""
    kept = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    kept.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    for connection in kept:
        connection.close()


def processes_of(home: Path) -> list[str]:
    """Command lines of processes that name a folder or run in it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            folder = os.readlink(entry / "cwd")
        except OSError:
            continue
        if str(home) in line or folder.startswith(str(home)):
            found.append(line)
    return found


def log_says(delivery: Delivery, job_id: str, text: str) -> None:
    wait_for(lambda: text in delivery.log(job_id), seconds=60, message=f"the log never said {text}")


def cancel(delivery: Delivery, job_id: str, name: str = "scientist") -> dict[str, Any]:
    with delivery.service.client(name) as client:
        return dict(ok(client.post(f"/jobs/{job_id}/cancel")))


def begin(delivery: Delivery, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    with delivery.service.client("engineer") as client:
        return dict(ok(client.post(f"/models/{delivery.model_id}/{kind}", json=body)))


def leaves_nothing(service: ServiceProcess) -> None:
    home = service.home
    wait_for(lambda: not processes_of(home / "packages") + processes_of(home / "service" / "jobs"))
    assert list((home / "service" / "jobs").iterdir()) == []
    assert not [path for path in home.glob("packages/*") if not path.name.startswith(".lock")]
    assert not list(home.glob("cache/*/.*-*"))


@pytest.mark.row("F257", "F271")
@pytest.mark.parametrize("where", ["fetching", "resolving", "validating"])
def test_packaging_is_cancelled(where: str, tmp_path: Path) -> None:
    with silent_server() as port:
        # What resolves looks at this index, and into no cache.
        index = {"UV_DEFAULT_INDEX": f"http://127.0.0.1:{port}/simple", "UV_NO_CACHE": "1"}
        options: dict[str, Any] = {"env": index, "shared_cache": False} if where == "resolving" else {}
        config = "c.GitSource.allow_http_urls = True\nc.GitSource.allowed_hosts = ['127.0.0.1']\n"
        with delivery_service(tmp_path / "home", config, **options) as service:
            files = {"predict.py": NAP if where == "validating" else SCRIPT, "requirements.txt": "numpy\n"}
            delivery = Delivery(service, tmp_path / "git", files).approve()
            form = delivery.form(validation_input="[[1, 2]]")
            if where == "fetching":
                form["repository"] = f"http://127.0.0.1:{port}/model.git"
            job = begin(delivery, "package", form)
            said = {
                "fetching": "Fetching",
                "resolving": "Resolving",
                "validating": "Running the validation input",
            }[where]
            log_says(delivery, job["id"], said)
            asked = cancel(delivery, job["id"])
            assert (asked["status"], asked["cancelled_by"]) == ("running", "scientist")
            ended = delivery.wait(job["id"], seconds=15)
            assert (ended["status"], ended["error"]) == ("cancelled", "Cancelled by scientist.")
            assert delivery.status == "Package Failed"
            leaves_nothing(service)


@pytest.mark.long
@pytest.mark.row("F258", "F271")
def test_publishing_is_cancelled_and_done_again(tmp_path: Path) -> None:
    # The script waits for a file before it can be loaded, and so does the endpoint before it is ready.
    gate = tmp_path / "gate"
    script = (
        f"import os, time\n\nwhile 'A360_KEYS_FILE' in os.environ and not os.path.exists({str(gate)!r}):\n"
        f"    time.sleep(0.1)\n{SCRIPT}"
    )
    with delivery_service(tmp_path / "home") as service:
        delivery = Delivery(service, tmp_path / "git", {"predict.py": script, "requirements.txt": "numpy\n"})
        gate.touch()
        assert delivery.approve().package()["status"] == "succeeded"
        gate.unlink()
        answer = begin(delivery, "publish", SIZES)
        log_says(delivery, answer["job"]["id"], "Limits:")
        cancel(delivery, answer["job"]["id"], "engineer")
        ended = delivery.wait(answer["job"]["id"], seconds=15)
        assert (ended["status"], delivery.status) == ("cancelled", "Publish Failed")
        assert not list((service.home / "endpoints").glob("*/endpoint.json"))
        wait_for(lambda: not processes_of(service.home / "endpoints"))
        gate.touch()
        job, answer = delivery.publish()
        assert job["status"] == "succeeded", job
        assert call(delivery.endpoint()["url"], answer["api_key"], ROW).json() == {"prediction": PREDICTION}
        with service.client("scientist") as client:
            refused = client.post(f"/jobs/{job['id']}/cancel")
            assert (refused.status_code, refused.json()["detail"]) == (
                409,
                "This job has ended already: it succeeded.",
            )


@pytest.mark.row("F271")
def test_a_log_is_downloaded_as_text(tmp_path: Path) -> None:
    with delivery_service(tmp_path / "home") as service:
        delivery = Delivery(service, tmp_path / "git").approve()
        job = delivery.package()
        with service.client("engineer") as client:
            answer = client.get(f"/jobs/{job['id']}/log")
            assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert answer.headers["Content-Disposition"] == f'attachment; filename="job-{job["id"]}.log"'
            events = ok(client.get(f"/jobs/{job['id']}/events", params={"limit": 1000}))["items"]
        lines = [line for line in answer.text.splitlines() if not line.startswith("  ")]
        assert len(lines) == len(events)
        assert lines[0].endswith("status: queued")
        assert lines[-1].endswith("status: succeeded")
        with service.client("outsider") as client:
            assert client.get(f"/jobs/{job['id']}/log").status_code == 404
            assert client.post(f"/jobs/{job['id']}/cancel").status_code == 404
