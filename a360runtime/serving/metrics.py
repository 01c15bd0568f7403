"""Numbers about the calls to one replica, in the text form Prometheus reads."""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histogram, in seconds."""

KEY_USED = "a360_key_last_used_timestamp_seconds"
"""The family by which the platform learns when a key was last used; its label is the key's id."""


class Metrics:
    """Counts calls; safe in threads.

    A class of its own and no library: four families are a page of code, and cost a call half a microsecond.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statuses: dict[int, int] = {}
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0
        self.in_flight = 0

    def begin(self, most: int | None = None) -> bool:
        """Count a call that is being answered, unless there are `most` already; False then."""
        with self._lock:
            if most is not None and self.in_flight >= most:
                return False
            self.in_flight += 1
            return True

    def end(self) -> None:
        """Take back what `begin` counted."""
        with self._lock:
            self.in_flight -= 1

    def record(self, status: int, seconds: float) -> None:
        """Count an answer."""
        bucket = bisect_left(BUCKETS, seconds)
        with self._lock:
            self._statuses[status] = self._statuses.get(status, 0) + 1
            self._buckets[bucket] += 1
            self._seconds += seconds

    def render(self, more: Iterable[str] = ()) -> str:
        """Return all families as text, then those of `more`."""
        with self._lock:
            statuses, buckets = dict(self._statuses), list(self._buckets)
            seconds, in_flight = self._seconds, self.in_flight
        requests = [({"status": str(status)}, count) for status, count in sorted(statuses.items())]
        return "".join(
            [
                family("a360_requests_total", "counter", "Calls answered, by status.", requests),
                _histogram(buckets, seconds),
                family("a360_requests_in_flight", "gauge", "Calls being answered.", [({}, in_flight)]),
                *more,
            ]
        )


def family(name: str, kind: str, about: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> str:
    """Return one family of metrics as text: its name, kind and samples with their labels."""
    lines = [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{_labels(labels)} {value}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _histogram(buckets: list[int], seconds: float) -> str:
    name, total = "a360_request_seconds", 0
    lines = [f"# HELP {name} Seconds from a call's arrival to its answer.", f"# TYPE {name} histogram"]
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), buckets, strict=True):
        total += count
        lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
    return "\n".join([*lines, f"{name}_sum {seconds}", f"{name}_count {total}"]) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
