"""Processes of their own for what is measured, so that memory, threads and failures are its own."""

import multiprocessing
import resource
import time
import traceback
from collections.abc import Callable
from typing import Any


class Failed(Exception):
    """What went wrong in a worker, in one line."""


def _serve(build: Callable[..., Any], arguments: tuple[Any, ...], pipe: Any) -> None:
    """The life of a worker: answer (what, arguments) with (seconds, result), or with a line."""
    side = None
    while (order := pipe.recv()) is not None:
        what, given = order
        try:
            side = build(*arguments) if side is None else side
            start = time.perf_counter()
            result = getattr(side, what)(*given)
            answer: Any = (time.perf_counter() - start, result)
        except Exception as error:  # of whatever kind: the others' figures are still wanted
            traceback.print_exc()
            answer = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        pipe.send(answer)
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)  # KiB on Linux


class Worker:
    """An object that lives in another process and does what it is told there."""

    def __init__(self, build: Callable[..., Any], *arguments: Any):
        """The object is `build(*arguments)`, made with the first order."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(build, arguments, theirs), daemon=True)
        self._process.start()
        theirs.close()  # so that a worker that dies is an EOFError here, not a wait for ever

    def ask(self, what: str, *arguments: Any) -> None:
        """Have it call a method; its answer is to be fetched before the next order."""
        try:
            self._pipe.send((what, arguments))
        except OSError:
            pass  # it is dead, and `answer` will say so

    def answer(self, limit: float | None = None) -> tuple[float, Any]:
        """Seconds and result of what was asked.

        Args:
            limit: seconds to wait for it; None: for ever.

        Raises:
            Failed: it raised, died, or took longer, and is killed then.
        """
        if not self._pipe.poll(limit):
            self.kill()
            raise Failed("took too long")
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(10)
            raise Failed(f"its process died with code {self._process.exitcode}") from None
        if isinstance(answer, str):
            raise Failed(answer)
        return answer

    def __call__(self, what: str, *arguments: Any) -> tuple[float, Any]:
        """Ask and wait."""
        self.ask(what, *arguments)
        return self.answer()

    def kill(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.join(10)  # not for ever: a driver can hold on to it

    def close(self) -> float:
        """Let it end; its peak memory in GiB."""
        self._pipe.send(None)
        peak = self._pipe.recv()
        self._process.join()
        return peak
