"""Each of many requests is answered once, whatever ends meanwhile (F291)."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.endpoints import eventually
from tests.support.mosquitto import Mosquitto, mosquitto
from tests.support.mqtt_client import Requester, Wrapper

pytestmark = [pytest.mark.row("F291"), pytest.mark.long]

REQUESTS = 10_000


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path / "broker") as running:
        yield running


@contextmanager
def asking(requester: Requester, count: int = REQUESTS, pause: float = 0.0005) -> Iterator[None]:
    """Ask that often in the background, from before the block on."""

    def ask() -> None:
        for index in range(count):
            requester.ask(f"r{index}")
            time.sleep(pause)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def report(what: str, requester: Requester, wrapper: Wrapper, began: float) -> None:
    seconds = time.monotonic() - began
    total = sum(requester.answers.values())
    print(f"{what}: {len(requester.answers)} answered, {total} answers, {seconds:.1f} s, {wrapper.counts}")


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_ten_thousand_requests_and_a_broker_restarted_twice(
    broker: Mosquitto, tmp_path: Path, version: str
) -> None:
    wrapper = Wrapper(tmp_path, broker, A360_MQTT_VERSION=version)
    wrapper.start()
    requester = Requester(broker, version=version)
    began = time.monotonic()
    try:
        with asking(requester):
            for share in (0.25, 0.6):
                eventually(lambda share=share: len(requester.answers) > share * REQUESTS)
                broker.restart()
        eventually(lambda: len(requester.answers) == REQUESTS, 90)
        assert wrapper.stop() == 0
        report(f"MQTT {version}, two restarts", requester, wrapper, began)
        assert set(requester.answers.values()) == {1}
        assert "in doubt" not in wrapper.log
    finally:
        requester.close()
        wrapper.kill()


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_wrapper_killed_five_times_and_a_broker_restarted_meanwhile(
    broker: Mosquitto, tmp_path: Path, version: str
) -> None:
    wrapper = Wrapper(tmp_path, broker, A360_MQTT_VERSION=version)
    wrapper.start()
    requester = Requester(broker, version=version)
    count, began = 3_000, time.monotonic()
    try:
        with asking(requester, count):
            for share in (0.1, 0.25, 0.4, 0.6, 0.8):
                eventually(lambda share=share: len(requester.answers) > share * count)
                wrapper.kill()
                if share in (0.25, 0.6):
                    broker.restart()
                wrapper.start(wait=False)
        eventually(lambda: len(requester.answers) == count, 90)
        assert wrapper.stop() == 0
        report(f"MQTT {version}, five kills", requester, wrapper, began)
        assert set(requester.answers.values()) == {1}
        assert "in doubt" not in wrapper.log
    finally:
        requester.close()
        wrapper.kill()


def test_answers_at_quality_1_that_may_arrive_twice_are_reported(broker: Mosquitto, tmp_path: Path) -> None:
    wrapper = Wrapper(tmp_path, broker, A360_MQTT_VERSION="3.1.1", A360_MQTT_ANSWER_QOS="1")
    wrapper.start()
    requester = Requester(broker, version="3.1.1")
    count, began = 3_000, time.monotonic()
    try:
        with asking(requester, count):
            for share in (0.2, 0.5, 0.7):
                eventually(lambda share=share: len(requester.answers) > share * count)
                broker.restart()
        eventually(lambda: len(requester.answers) == count, 90)
        assert wrapper.stop() == 0
        report("answers at quality 1, three restarts", requester, wrapper, began)
        twice = sum(requester.answers.values()) - count
        assert twice <= wrapper.log.count("in doubt")
    finally:
        requester.close()
        wrapper.kill()
