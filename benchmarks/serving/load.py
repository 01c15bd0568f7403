"""Load on a server: wrk, and what its report says."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw; latencies in seconds."""

    calls: int
    requests_per_second: float
    p50: float
    p99: float
    failed: int


def wrk_program() -> str:
    """The program; leaves, skipping the benchmark, with a line that says what to do when it is missing."""
    program = shutil.which("wrk")
    if program is None:
        print("Skipped: the load comes from wrk, which is not installed (apt-get install wrk).")
        raise SystemExit(0)
    return program


def write_script(path: Path, body: object, key: str, delay_ms: int = 0) -> Path:
    """Write the Lua script of a call; with a delay each connection waits that long between its calls."""
    lines = [
        'wrk.method = "POST"',
        'wrk.headers["Content-Type"] = "application/json"',
        f'wrk.headers["apikey"] = "{key}"',
        f"wrk.body = [==[{json.dumps(body)}]==]",
    ]
    if delay_ms:
        lines.append(f"function delay() return {delay_ms} end")
    path.write_text("\n".join(lines) + "\n")
    return path


def run(url: str, script: Path, connections: int, seconds: int) -> Load:
    """Call as fast as the connections allow for some seconds."""
    command = [
        wrk_program(),
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        str(script),
        url,
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    socket = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = int(other[1]) if other else 0
    failed += sum(map(int, socket.groups())) if socket else 0
    rate = float(_found(r"Requests/sec:\s+([\d.]+)", text))
    calls = int(_found(r"(\d+) requests in", text))
    return Load(calls, rate, _latency(50, text), _latency(99, text), failed)


def _latency(percent: int, text: str) -> float:
    number, unit = re.match(r"([\d.]+)(\w+)", _found(rf"^\s+{percent}%\s+(\S+)", text)).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS[unit]


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk reported something else than expected:\n{text}")
    return found[1]
