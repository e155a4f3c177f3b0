"""Progress of a long loop: a bar on a terminal, plain lines in a log."""

import math
import sys
import time

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0
shown = True
"""Of this process: of several that do the same, one shows it."""


def progress(
    total: int,
    description: str,
    unit: str = "it",
    *,
    initial: int = 0,
    steady: bool = False,
    delay: float = 0.0,
) -> "Bar | LogLines":
    """Show how far a loop of `total` units is, starting at `initial`, on standard error.

    Returns a context manager whose `update(count, note)` is told counts, and words to stand behind
    the line, which have come home from the device: it never waits for that. Its `total` may be
    changed on the way. `steady`: the time left on a
    terminal follows from the whole time so far, not from the last moments. `delay`: seconds before
    anything is shown; a loop that is done by then says nothing.
    """
    if not shown:
        delay = math.inf
    elif sys.stderr.isatty():
        return Bar(
            total=total,
            desc=description,
            unit=f" {unit}",
            initial=initial,
            smoothing=0 if steady else 0.3,
            delay=delay,
            dynamic_ncols=True,
        )
    return LogLines(total, description, unit, initial, delay)


class Bar(tqdm):
    """A bar whose `update` takes a note."""

    def update(self, n: int | float | None = 1, note: str = "") -> bool | None:
        """Count that many more units as done."""
        if note:
            self.set_postfix_str(note, refresh=False)
        return super().update(n)


class LogLines:
    """A line at the start, then at most one every ten seconds, and one at the end."""

    def __init__(self, total: int, description: str, unit: str, initial: int, delay: float = 0.0):
        self.total, self._description, self._unit = total, description, unit
        self._initial = self._done = initial
        self._start = self._last_line = time.monotonic()
        self._delay, self._silent = delay, delay > 0
        self._note = ""

    def __enter__(self) -> "LogLines":
        if not self._silent:
            print(self._line(), file=sys.stderr, flush=True)
        return self

    def update(self, count: int = 1, note: str = "") -> None:
        """Count that many more units as done."""
        self._done += count
        self._note = note or self._note
        wait = self._delay if self._silent else SECONDS_BETWEEN_LINES
        if time.monotonic() - self._last_line >= wait:
            self._last_line, self._silent = time.monotonic(), False
            print(self._line(), file=sys.stderr, flush=True)

    def __exit__(self, *exception: object) -> None:
        if self._silent:
            return
        print(self._line(), file=sys.stderr, flush=True)

    def _line(self) -> str:
        share = self._done / self.total if self.total else 1.0
        text = f"{self._description}: {share:4.0%} {self._done}/{self.total} {self._unit}"
        seconds = time.monotonic() - self._start
        if self._done == self._initial or seconds <= 0:
            return text
        rate = (self._done - self._initial) / seconds
        text += f", {rate:.3g} {self._unit}/s{self._note and ', '}{self._note}"
        if self._done >= self.total:
            return f"{text}, took {_clock(seconds)}"
        return f"{text}, {_clock((self.total - self._done) / rate)} left"


def _clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
