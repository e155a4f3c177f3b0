"""SIGTERM, which a scheduler sends some seconds before it kills: save where it costs work, stop."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)


class Terminated(BaseException):
    """The process was asked to stop. No `Exception`: nothing but the program's end catches it."""


class Termination:
    """What to do at SIGTERM: stop at once, or where work would be lost, at the next good moment."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.asked = False
        self._deferring = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Answer SIGTERM while inside."""
        self.asked = False
        before = signal.getsignal(signal.SIGTERM)
        self.answer()
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def answer(self) -> None:
        """Take the signal, also back from a library that has taken it meanwhile."""
        signal.signal(signal.SIGTERM, self._answer)

    def ask(self) -> None:
        """As the signal does inside `deferred`."""
        if not self.asked:
            self.asked = True
            log.warning("asked to stop; saving first")

    @contextmanager
    def deferred(self, *, stop: bool = True) -> Iterator[None]:
        """While inside only note the first request: whoever is inside looks at `asked`.

        Afterwards the program ends if it was asked to; not if `stop` is False, for what comes next
        then looks.
        """
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        if self.asked and stop:
            raise Terminated

    def _answer(self, number: int, frame: Any) -> None:
        if not self._deferring or self.asked:  # asked twice is meant
            raise Terminated
        self.ask()


termination = Termination()
"""Of this process: signals are."""
