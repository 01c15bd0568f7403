"""Counting values of calls that lie further than three standard deviations from the training mean."""

import json
import logging
import math
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

logger = logging.getLogger("a360.serving")

DEVIATIONS = 3.0
_ROUNDING = 1e-9
"""Of the mean: a constant feature has no deviation, and float32 callers no more digits."""


class Outliers:
    """Counts outliers of numeric features, by feature; safe in threads.

    Parameters
    ----------
    baseline
        The package's baseline, feature by feature; without one nothing is counted.
    """

    def __init__(self, baseline: Mapping[str, Any] | None) -> None:
        entries = baseline if isinstance(baseline, Mapping) else {}
        self._names = list(entries)
        self._ranges = {name: found for name, entry in entries.items() if (found := _range(entry))}
        self._counts: Counter[str] = Counter()
        self._values = 0
        self._lock = threading.Lock()

    def counts(self) -> dict[str, int]:
        """Outliers since the start, by feature; every numeric feature is there."""
        with self._lock:
            return {name: self._counts[name] for name in self._ranges}

    def values(self) -> int:
        """Values of numeric features seen since the start."""
        with self._lock:
            return self._values

    def look(self, document: Any) -> dict[str, int]:
        """Count the outliers of one call, and log once which features have some; never their values.

        Parameters
        ----------
        document
            The decoded body: a row as an object or a list in the order of the features; several of them; or
            columns, as pandas writes them. What is around that (``{"rows": [...]}``) does not matter.
        """
        if not self._ranges or self._lies_within(document):
            return {}
        found: Counter[str] = Counter()
        values = 0
        for name, value in _values(document, self._names):
            limits, number = self._ranges.get(name), _number(value)
            if limits is None or number is None:
                continue
            values += 1
            if not limits[0] <= number <= limits[1]:
                found[name] += 1
        with self._lock:
            self._counts.update(found)
            self._values += values
        if found:
            logger.warning("outliers %s", json.dumps(found))
        return dict(found)

    def _lies_within(self, document: Any) -> bool:
        """Count the call most make, one plain row without outliers, at a tenth of the cost of all forms."""
        if type(document) is not dict:
            return False
        for name, (low, high) in self._ranges.items():
            value = document.get(name)
            if type(value) is not float and type(value) is not int:
                return False
            if not low <= value <= high:
                return False
        with self._lock:
            self._values += len(self._ranges)
        return True


def _range(entry: Any) -> tuple[float, float] | None:
    """From where to where a feature's values are no outliers; None where it has no mean and deviation."""
    if not isinstance(entry, Mapping):
        return None
    mean: Any = entry.get("mean", entry.get("median"))
    deviation: Any = entry.get("std")
    if not _is_number(mean) or not _is_number(deviation):
        return None
    reach = DEVIATIONS * deviation + _ROUNDING * max(1.0, abs(mean))
    return mean - reach, mean + reach


def _values(document: Any, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield features and their values, wherever they are in a body."""
    known = set(names)
    pending = [document]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            columns, rows = item.get("columns"), item.get("data")
            if not known.isdisjoint(item):
                for name in filter(item.__contains__, names):
                    yield from ((name, value) for value in _flat(item[name]))
            elif isinstance(columns, list) and isinstance(rows, list):  # pandas, orient="split"
                for row in rows:
                    yield from zip(map(str, columns), row if isinstance(row, list) else [], strict=False)
            else:
                pending.extend(item.values())
        elif isinstance(item, list):
            nested = [each for each in item if isinstance(each, (list, dict))]
            if not nested and len(names) == 1:
                yield from ((names[0], value) for value in item)
            elif not nested and len(item) == len(names):
                yield from zip(names, item, strict=True)
            pending.extend(nested)


def _flat(value: Any) -> Iterator[Any]:
    """A value by itself; of a column all its values."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        else:
            yield item


def _number(value: Any) -> float | None:
    """A value as a number; texts of numbers count, nothing and not-a-number do not."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    return None if math.isnan(number) else number


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
