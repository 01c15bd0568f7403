"""Right keys beside a thousand wrong ones a second, against right keys alone, in one run.

A replica of each wrapper with 100 keys serves a RandomForest(100, depth 6). Eight connections call with a
right key as fast as they can, and eight more send a wrong key a thousand times a second: in one round to
the replica, in the other to a server of constant answers, so that what sending costs the machine is there in
both. Rounds take turns, and what is compared is a round with the one before it.

    python -m benchmarks.bench_keys [--rounds 5] [--seconds 2]
"""

import argparse
import statistics
import tempfile
import threading
from pathlib import Path

from benchmarks.serving import load
from benchmarks.serving.model import make_model, make_package
from benchmarks.serving.servers import Side, constant, ours, running, write_keys
from tests.support import endpoints

FLOOD_CONNECTIONS, FLOOD_DELAY_MS = 8, 7
"""Eight connections that wait seven milliseconds between calls of about one: a thousand a second."""
AIM = 1.2
"""How many times as slow right keys may be."""


def measure(
    side: Side, other: Side, folder: Path, rounds: int, seconds: int
) -> list[tuple[load.Load, load.Load, float]]:
    """Return, of each round, what right keys saw without and with the flood, and the flood's rate."""
    right = load.write_script(folder / "right.lua", side.body, endpoints.KEY)
    wrong = load.write_script(folder / "wrong.lua", side.body, "a360_wrong", FLOOD_DELAY_MS)
    load.run(side.url, right, 8, 1)  # warms up
    found = []
    for _ in range(rounds):
        seen = []
        for flooded in (other, side):
            floods: list[load.Load] = []
            flood = threading.Thread(
                target=lambda to=floods, url=flooded.url: to.append(
                    load.run(url, wrong, FLOOD_CONNECTIONS, seconds + 1)
                )
            )
            flood.start()
            seen.append(load.run(side.url, right, 8, seconds))
            flood.join()
        assert seen[0].failed == seen[1].failed == 0, "calls with a right key failed"
        assert floods[0].failed > 0, "a wrong key was let in"
        found.append((seen[0], seen[1], floods[0].requests_per_second))
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
            other = constant("asgi")
            with running([side, other], folder):
                found = measure(side, other, folder, options.rounds, options.seconds)
            alone = statistics.median(each.requests_per_second for each, _, _ in found)
            beside = statistics.median(each.requests_per_second for _, each, _ in found)
            slower = statistics.median(a.requests_per_second / b.requests_per_second for a, b, _ in found)
            flood = statistics.median(rate for _, _, rate in found)
            verdict = "holds" if slower <= AIM else "DOES NOT HOLD"
            print(
                f"{wrapper}: {alone:,.0f} calls/s without, {beside:,.0f} beside {flood:,.0f} wrong keys/s: "
                f"{slower:.2f} times as slow (aim at most {AIM:g}: {verdict})"
            )


if __name__ == "__main__":
    main()
