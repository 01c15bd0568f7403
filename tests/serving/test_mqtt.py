"""The MQTT wrapper against a real broker with TLS and passwords (F291, F299, F300)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mosquitto import Mosquitto, mosquitto
from tests.support.mqtt_client import Requester, Wrapper

pytestmark = pytest.mark.row("F291")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.mark.row("F299", "F300")
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_requests_are_answered(broker: Mosquitto, tmp_path: Path, version: str) -> None:
    wrapper = Wrapper(tmp_path, broker, A360_MQTT_VERSION=version)
    wrapper.start()
    requester = Requester(broker, version=version)
    try:
        for index in range(100):
            requester.ask(f"r{index}")
        for index in range(100):
            assert requester.answer(f"r{index}")["prediction"] == 8.0
        assert wrapper.healthcheck()[0] == 0
        assert wrapper.stop() == 0
        print(wrapper.log)
        assert set(requester.answers.values()) == {1}
    finally:
        requester.close()
        wrapper.kill()
