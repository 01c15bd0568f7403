"""Progress of what takes long: nothing is shown of what is done within a second."""

import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
SHOWN_AFTER = 1.0


class Meter:
    """A bar that appears when something has taken a second, and leaves no trace in the notebook.

    Args:
        label: what is being done.
        total: of all that is to come; None when unknown.
        unit: what is counted; "B" for bytes.
    """

    def __init__(self, label: str, total: int | None = None, unit: str = "B") -> None:
        self._label, self._total, self._unit = label, total, unit
        self._began = time.monotonic()
        self._done = 0
        self._bar: Any = None

    def advance(self, count: int = 1, label: str | None = None) -> None:
        """Say that so many more are done.

        Args:
            count: of the unit.
            label: what comes next, where that is another thing.
        """
        self._done += count
        self._label = label or self._label
        if self._bar is not None:
            if label:
                self._bar.set_description_str(label, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._began >= SHOWN_AFTER:
            from tqdm.auto import tqdm

            self._bar = tqdm(
                desc=self._label,
                total=self._total,
                initial=self._done,
                unit=self._unit,
                unit_scale=self._unit == "B",
                leave=False,
            )

    def expect(self, total: int | None) -> None:
        """Say how many there are to be, once that is known.

        Args:
            total: of all, with those that are done; None when unknown.
        """
        self._total = total
        if self._bar is not None and self._bar.total != total:
            self._bar.total = total
            self._bar.refresh()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def watched(items: Iterable[T], label: str, unit: str) -> Iterator[T]:
    """Yield what comes, with a count of it when that takes long.

    Args:
        items: what comes.
        label: what is being done.
        unit: what is counted, with a leading space.
    """
    with Meter(label, unit=unit) as meter:
        for item in items:
            yield item
            meter.advance()
