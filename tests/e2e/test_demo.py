"""The demo as somebody types it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from examples.demo.people import Person
from tests.support.hub import IMAGES, ROOT, Platform
from tests.support.service import free_port, wait_for

pytestmark = [pytest.mark.xdist_group("e2e"), pytest.mark.slow, pytest.mark.timeout(600)]


def command(home: Path, *arguments: str, engine: str = "none") -> list[str]:
    return [sys.executable, "-m", "examples.demo", "--home", str(home), "--engine", engine, *arguments]


ENVIRONMENT = {**os.environ, "A360_IMAGES": str(IMAGES)}


def left_over(home: Path) -> list[psutil.Process]:
    """Processes that have to do with this state folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(home) in " ".join([*process.cmdline(), process.environ().get("A360_HOME", "")]):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "home"


@pytest.mark.row("F170", "F189", "F216", "F224", "F272", "F278", "F288", "F310", "F331")
@pytest.mark.long
def test_the_demo_goes_from_data_to_equal_answers_and_leaves_nothing_running(home: Path):
    port = free_port()
    done = subprocess.run(
        command(home, "--exit", "--port", str(port)),
        env=ENVIRONMENT,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100 of 100 equal the native model's predictions" in done.stdout
    assert re.search(
        r"curl -X POST 'http://127.0.0.1:\d+/breast-cancer-screening-screening-1-0/'", done.stdout
    )
    assert "\x1b" not in done.stdout
    assert not left_over(home)


@pytest.mark.long
@pytest.mark.docker
@pytest.mark.row("F287", "F359")
def test_with_an_engine_the_model_becomes_a_container_on_the_platform_that_runs_already(
    running: Platform, people: dict[str, Person]
):
    (builder,) = [
        item for item in people["engineer"].api("GET", "/builders")["items"] if item["name"] == "docker"
    ]
    if not builder["available"]:
        pytest.skip(f"no Docker engine: {builder['reason']}")
    done = subprocess.run(
        command(running.home, "--exit", engine="docker"),
        env=ENVIRONMENT | {"A360_PASSWORD": running.password},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=550,
    )
    reference = re.search(r"Package: docker (\S+),", done.stdout)
    if reference:
        subprocess.run(["docker", "rmi", "--force", reference[1]], capture_output=True, check=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Publish: docker" in done.stdout
    assert "100 of 100 equal the native model's predictions" in done.stdout
    assert people["scientist"].api("GET", "/me")["name"] == "scientist"  # it was not the demo's to stop
    containers = ["docker", "ps", "--all", "--quiet", "--filter", "name=a360-test-e2e"]
    assert subprocess.run(containers, capture_output=True, text=True, check=True).stdout == ""


def test_a_taken_port_ends_the_demo_with_a_line_and_a_hint(tmp_path: Path):
    taken = subprocess.Popen(
        [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        cwd=tmp_path,
    )
    try:
        assert taken.stdout
        port = taken.stdout.readline().decode().split("port ")[1].split()[0]
        home = tmp_path / "home"
        done = subprocess.run(
            command(home, "--exit", "--port", port),
            env=ENVIRONMENT,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        taken.kill()
        taken.communicate()
    assert done.returncode == 2
    message, hint = done.stderr.strip().splitlines()
    assert f"Port {port}" in message
    assert "--port" in hint


@pytest.mark.long
def test_ctrl_c_while_it_works_stops_everything(tmp_path: Path):
    home = tmp_path / "home"
    process = subprocess.Popen(
        command(home, "--port", str(free_port())),
        env=ENVIRONMENT,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for(lambda: (home / "demo" / "biopsies.csv").exists(), seconds=120)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, printed
    assert "Interrupted." in printed
    assert not left_over(home)
