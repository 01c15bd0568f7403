"""One-row calls to served models, side by side: our wrappers, MLflow, BentoML and constant answers.

Each side is one worker with one thread a prediction, in an environment of its own, and answers the same row
of the same forest. wrk calls with 1, 8 and 32 connections; rounds take turns, so that a busy machine is busy
for all sides. Ratios are medians over the rounds. Processor time per call says least about the machine's
other work.

    python -m benchmarks.serving [--rounds 3] [--seconds 3] [--only "ours,MLflow onnx"]
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.serving import load
from benchmarks.serving.model import make_model, make_package
from benchmarks.serving.servers import Side, constant, ours, peers, running, write_keys
from tests.support import endpoints

CONNECTIONS = (1, 8, 32)
BASE = "MLflow onnx"
AIMED = 8
"""Connections at which the aims are."""
AIMS = {"ours flask": 5.0, "ours asgi": 10.0}
"""How many times as many calls as MLflow's server with the same graph."""
MEMORY, READY = 150e6, 1.5

Found = dict[tuple[str, int], list[load.Load]]
Cost = dict[str, list[float]]
"""Seconds of processor time per call at 8 connections, of each round."""


def measure(sides: list[Side], folder: Path, rounds: int, seconds: int) -> tuple[Found, Cost]:
    """Return what each round saw, by side and connections."""
    scripts = {
        side.name: load.write_script(folder / f"{number}.lua", side.body, endpoints.KEY)
        for number, side in enumerate(sides)
    }
    found: Found = {(side.name, connections): [] for side in sides for connections in CONNECTIONS}
    cost: Cost = {side.name: [] for side in sides}
    for side in sides:  # each has answered before it is measured
        load.run(side.url, scripts[side.name], 8, 1)
    for _ in range(rounds):
        for connections in CONNECTIONS:
            for side in sides:
                before = side.cpu_seconds()
                run = load.run(side.url, scripts[side.name], connections, seconds)
                found[side.name, connections].append(run)
                if connections == AIMED:
                    cost[side.name].append((side.cpu_seconds() - before) / run.calls)
    return found, cost


def table(sides: list[Side], found: Found, cost: Cost, memory: dict[str, int]) -> None:
    """Print medians."""
    head = "".join(f"{f'{connections} conn.':>32}" for connections in CONNECTIONS)
    print(f"{'':16}{head}{'CPU/call':>10}{'memory':>9}{'ready':>8}")
    print(f"{'':16}{'calls/s   p50 ms   p99 ms':>32}" + f"{'calls/s   p50 ms   p99 ms':>32}" * 2)
    for side in sides:
        cells = ""
        for connections in CONNECTIONS:
            runs = found[side.name, connections]
            rate, p50, p99 = (
                statistics.median(getattr(run, name) for run in runs)
                for name in ("requests_per_second", "p50", "p99")
            )
            cells += f"{rate:>14,.0f}{p50 * 1000:>9.2f}{p99 * 1000:>9.2f}"
        cells += f"{statistics.median(cost[side.name]) * 1e6:>7,.0f} us"
        print(f"{side.name:16}{cells}{memory[side.name] / 1e6:>6.0f} MB{side.ready_seconds:>6.2f} s")
    if failed := {key: sum(run.failed for run in runs) for key, runs in found.items()}:
        for (name, connections), count in failed.items():
            if count:
                print(f"{name} at {connections} connections: {count} calls failed")


def verdicts(sides: list[Side], found: Found, cost: Cost, memory: dict[str, int]) -> None:
    """Print each aim, what was found, and whether it holds."""
    by_name = {side.name: side for side in sides}
    for name, aim in AIMS.items():
        if name not in by_name:
            continue
        print(f"\n{name}")
        for connections in CONNECTIONS if BASE in by_name else ():
            pairs = list(zip(found[name, connections], found[BASE, connections], strict=True))
            ratio = statistics.median(a.requests_per_second / b.requests_per_second for a, b in pairs)
            tail = statistics.median(a.p99 / b.p50 for a, b in pairs)
            told = (
                f"{ratio:.1f} times {BASE} at {connections}",
                f"p99 {tail:.2f} of its p50 at {connections}",
            )
            if connections == AIMED:
                _tell(f"{told[0]} (aim {aim:g})", ratio >= aim)
                _tell(f"{told[1]} (aim below 1)", tail < 1)
            else:
                print(f"  {'':9} {told[0]}, {told[1]}")
        if BASE in by_name:
            cheaper = statistics.median(b / a for a, b in zip(cost[name], cost[BASE], strict=True))
            print(f"  {'':9} {cheaper:.1f} times less processor time per call than {BASE}")
        _tell(f"{memory[name] / 1e6:.0f} MB (aim below {MEMORY / 1e6:.0f})", memory[name] < MEMORY)
        ready = by_name[name].ready_seconds
        _tell(f"first answer after {ready:.2f} s (aim within {READY})", ready <= READY)


def _tell(what: str, holds: bool) -> None:
    print(f"  {'holds' if holds else 'DOES NOT':9} {what}")


def main() -> None:
    """Print the table and what it says about the aims."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", default="", help="beginnings of the names of the sides, with commas")
    options = parser.parse_args()
    load.wrk_program()
    with tempfile.TemporaryDirectory(prefix="a360-bench-") as name:
        folder = Path(name)
        model = make_model(folder)
        keys = write_keys(folder / "keys.json", endpoints.KEY)
        sides = [
            *(ours(each, make_package(folder, model, each), keys, model.row) for each in ("flask", "asgi")),
            constant("wsgi"),
            constant("asgi"),
            *peers(model, folder),
        ]
        only = tuple(filter(None, options.only.split(",")))
        sides = [side for side in sides if not only or side.name.startswith(only)]
        with running(sides, folder):
            for side in sides:
                if not side.name.startswith("constant"):
                    assert f"{model.prediction:g}" in str(side.answer()), f"{side.name}: {side.answer()}"
            found, cost = measure(sides, folder, options.rounds, options.seconds)
            memory = {side.name: side.memory() for side in sides}
        table(sides, found, cost, memory)
        verdicts(sides, found, cost, memory)


if __name__ == "__main__":
    main()
