"""The service's log never keeps anybody waiting."""

import logging
import os
from pathlib import Path

import httpx

from a360_hub_service.logs import written_by_a_thread
from tests.support.service import ServiceProcess, wait_for


def fill(descriptor: int) -> None:
    """Write into a pipe until it takes no more."""
    os.set_blocking(descriptor, False)
    try:
        while os.write(descriptor, b"x" * 4096):
            continue
    except BlockingIOError:
        return


def test_requests_are_answered_while_nobody_reads_the_log(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path / "home")
    service.log = tmp_path / "pipe"
    os.mkfifo(service.log)
    reader = os.open(service.log, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(service.log, os.O_WRONLY)
    try:
        service.start()
        fill(writer)
        for _ in range(30):
            # Refused requests are logged as warnings.
            answer = httpx.get(f"{service.api_url}/projects", timeout=10)
            assert answer.status_code == 401
        service.stop()
        assert service.process
        assert service.process.returncode == 0, "it ends although its last lines wait"
    finally:
        service.kill()
        os.close(reader)
        os.close(writer)


def test_lines_come_out_in_order_and_those_left_out_are_counted() -> None:
    reader, writer = os.pipe()
    fill(writer)
    os.set_blocking(writer, True)
    log = logging.getLogger("a360.test")
    with written_by_a_thread(writer, kept=10):
        for number in range(50):
            log.info("line %d", number)
        os.set_blocking(reader, False)
        text = ""

        def come() -> bool:
            nonlocal text
            try:
                text += os.read(reader, 65536).decode().lstrip("x")
            except BlockingIOError:
                return False
            return "line 9" in text

        wait_for(come, message="the first lines did not come")
        log.info("line 50")
        wait_for(lambda: come() or "line 50" in text, message="the last line did not come")
    os.close(reader)
    os.close(writer)
    numbers = [int(line.split()[-1]) for line in text.splitlines() if "a360.test: line" in line]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 50
    left_out = [line for line in text.splitlines() if "left out" in line]
    assert left_out
    assert sum(int(line.split()[0]) for line in left_out) + len(numbers) == 51
