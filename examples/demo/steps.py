"""Printing of steps with their times: one line each, plain text, redrawn in place on a terminal."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

WIDTH = 100


class Step:
    """A step under way; what it reports appears behind its title."""

    def __init__(self, steps: "Steps", title: str) -> None:
        self._steps = steps
        self.title = title
        self.result = ""

    def progress(self, text: str) -> None:
        """Show how far the step is; only on a terminal, where the line can be redrawn."""
        self._steps.redraw(f"  {self.title}: {text}")

    def note(self, text: str) -> None:
        """Print a line of its own below the step."""
        self._steps.line(f"      {text}")


class Steps:
    """Prints steps and adds up their time.

    Parameters
    ----------
    out : TextIO, optional
        Where to print; standard output when left out.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._terminal = self._out.isatty()
        self._shown = ""
        self.started = time.monotonic()

    @property
    def total(self) -> float:
        """Seconds since the first step."""
        return time.monotonic() - self.started

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Run a step; its line is printed when it ends, with its time or with “failed”."""
        begun = time.monotonic()
        step = Step(self, title)
        self.redraw(f"  {title} ...")
        try:
            yield step
        except BaseException:
            self.line(f"{time.monotonic() - begun:6.1f} s  {title}: failed")
            raise
        self.line(f"{time.monotonic() - begun:6.1f} s  {title}{': ' if step.result else ''}{step.result}")

    def redraw(self, text: str) -> None:
        """Replace the unfinished line, on a terminal."""
        text = text[:WIDTH]
        if self._terminal and text != self._shown:
            self._out.write("\r" + text.ljust(len(self._shown)))
            self._out.flush()
            self._shown = text

    def line(self, text: str = "") -> None:
        """Print a line that stays."""
        if self._shown:
            self._out.write("\r" + " " * len(self._shown) + "\r")
            self._shown = ""
        self._out.write(text + "\n")
        self._out.flush()
