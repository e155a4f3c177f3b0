"""How long a run takes, and how fast it trains."""

import time
from collections.abc import Callable
from typing import Any


class Stopwatch:
    """Seconds spent inside `with` blocks, to tell training from evaluation and saving."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        """`clock` gives seconds; tests give their own."""
        self._clock, self.seconds = clock, 0.0

    def __enter__(self) -> "Stopwatch":
        self._start = self._clock()
        return self

    def __exit__(self, *exception: object) -> None:
        self.seconds += self._clock() - self._start


class Pace:
    """The time of a run, kills included, and its rate of training in this process.

    Attributes:
        earlier: seconds that killed runs spent, up to the checkpoint they left.
        training: runs while the run trains.
        examples: trained on in this process, of one seed: seeds side by side have equally many.
    """

    def __init__(self, started: float):
        """`started` is time.monotonic() at the process's start."""
        self._started, self.earlier = started, 0.0
        self.training, self.examples = Stopwatch(), 0.0

    @property
    def seconds(self) -> float:
        """Since the process's start, and before."""
        return self.earlier + time.monotonic() - self._started

    @property
    def examples_per_second(self) -> float | None:
        """Of every seed, not their sum; None where nothing was trained: it was done before."""
        return self.examples / self.training.seconds if self.examples else None

    def facts(self) -> dict[str, Any]:
        """What results.json says of the time."""
        return {"wall_seconds": self.seconds, "examples_per_second": self.examples_per_second}
