"""Right keys beside a thousand wrong ones a second, against right keys alone, in one run.

A replica of each wrapper with 100 keys serves a RandomForest(100, depth 6). Eight connections call with a
right key as fast as they can; in every other round, eight more send a wrong key a thousand times a second.
Rounds take turns, and what is compared is a round with the one before it.

    python -m benchmarks.bench_keys [--rounds 5] [--seconds 2]
"""

import argparse
import statistics
import tempfile
import threading
from pathlib import Path

from benchmarks.serving import load
from benchmarks.serving.model import make_model, make_package
from benchmarks.serving.servers import Side, ours, running, write_keys
from tests.support import endpoints

FLOOD_CONNECTIONS, FLOOD_DELAY_MS = 8, 7
"""Eight connections that wait seven milliseconds between calls of about one: a thousand a second."""
AIM = 1.2
"""How many times as slow right keys may be."""


def measure(
    side: Side, folder: Path, rounds: int, seconds: int
) -> list[tuple[load.Load, load.Load, float]]:
    """Return, of each round, what right keys saw alone and beside the flood, and the flood's rate."""
    right = load.write_script(folder / "right.lua", side.body, endpoints.KEY)
    wrong = load.write_script(folder / "wrong.lua", side.body, "a360_wrong", FLOOD_DELAY_MS)
    load.run(side.url, right, 8, 1)  # warms up
    found = []
    for _ in range(rounds):
        alone = load.run(side.url, right, 8, seconds)
        floods: list[load.Load] = []
        flood = threading.Thread(
            target=lambda to=floods: to.append(load.run(side.url, wrong, FLOOD_CONNECTIONS, seconds + 1))
        )
        flood.start()
        beside = load.run(side.url, right, 8, seconds)
        flood.join()
        assert alone.failed == beside.failed == 0, "calls with a right key failed"
        assert floods[0].failed > 0, "a wrong key was let in"
        found.append((alone, beside, floods[0].requests_per_second))
    return found


def main() -> None:
    """Print rates and ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    options = parser.parse_args()
    load.wrk_program()
    with tempfile.TemporaryDirectory(prefix="a360-bench-") as name:
        folder = Path(name)
        model = make_model(folder)
        others = (f"a360_other-{number}" for number in range(99))
        keys = write_keys(folder / "keys.json", *others, endpoints.KEY)
        for wrapper in ("flask", "asgi"):
            side = ours(wrapper, make_package(folder, model, wrapper), keys, model.row)
            with running([side], folder):
                found = measure(side, folder, options.rounds, options.seconds)
            alone, beside = (
                statistics.median(each[place].requests_per_second for each in found)
                for place in (0, 1)  # type: ignore[union-attr]
            )
            slower = statistics.median(a.requests_per_second / b.requests_per_second for a, b, _ in found)
            flood = statistics.median(rate for _, _, rate in found)
            verdict = "holds" if slower <= AIM else "DOES NOT HOLD"
            print(
                f"{wrapper}: {alone:,.0f} calls/s alone, {beside:,.0f} beside {flood:,.0f} wrong keys/s: "
                f"{slower:.2f} times as slow (aim at most {AIM:g}: {verdict})"
            )


if __name__ == "__main__":
    main()
