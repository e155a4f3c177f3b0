"""When to save, and saving in the background while the run trains on."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax

from alignreg_jax.errors import writing
from alignreg_jax.support import processes
from alignreg_jax.training.checkpointing import Checkpoints, Save
from alignreg_jax.training.manifests import Position

log = logging.getLogger(__name__)


class SaveClock:
    """Says when the next save is due: after so many minutes, or so many steps.

    Processes that make one run have to save at the same step, so the first one tells the others,
    after how many steps to ask it again: half of those that seem to be left, and no more than have
    been made since the save, because the first ones compile. That is some dozens of questions
    between two saves, not one in every dispatch.
    """

    def __init__(
        self, minutes: float, steps: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """0 of either: not by that; `clock` gives seconds."""
        self._seconds, self._steps, self._clock = 60 * minutes, steps, clock
        self.saved(0)

    def saved(self, step: int) -> None:
        """The run has just been saved at `step`, or begins there."""
        self._saved, self._since, self._ask_at = step, self._clock(), step + 1

    def due(self, step: int) -> bool:
        """Whether to save now; to be called equally often in all processes."""
        if self._steps and step - self._saved >= self._steps:
            return True
        if not self._seconds or step < self._ask_at:
            return False
        (wait,) = processes.decide(lambda: [self._steps_left(step - self._saved)])
        self._ask_at = step + wait
        return wait == 0

    def _steps_left(self, made: int) -> int:
        """After how many more steps to look again; 0: it is time."""
        passed = self._clock() - self._since
        left = self._seconds - passed
        if left <= 0:
            return 0
        return max(1, min(made, int(made * left / passed / 2) if passed > 0 else made))


class Saver:
    """Saves all seeds of a run at one moment, in the background, one moment at a time.

    Older checkpoints of a seed are dropped when all seeds have the new one, so that a kill leaves
    them with one in common.
    """

    def __init__(self) -> None:
        """Nothing is being saved."""
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.wait()
        elif (trouble := self._join()) is not None:  # what stops the run is told, and this as well
            log.warning("the last save failed: %s", trouble)

    def start(self, saves: Iterable[tuple[Checkpoints, Any, Position]]) -> None:
        """Begin to write one tree of every seed; they are on the host when this returns.

        Args:
            saves: made one after the other, so that of several seeds one copy is on the device.

        Raises:
            UserError: there is no room for this save, or there was none for the last.
        """
        self.wait()
        begun: list[tuple[Checkpoints, Save]] = []
        size = 0
        for checkpoints, tree, position in saves:
            size += sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
            with writing(checkpoints.folder, size):
                begun.append((checkpoints, checkpoints.begin(tree, position)))
            del tree
        self._thread = threading.Thread(target=self._finish, args=(begun, size), name="saving")
        self._thread.start()

    def look(self) -> None:
        """Raise what went wrong meanwhile, without waiting."""
        if self._error is not None:
            self.wait()

    def wait(self) -> None:
        """Wait until everything is committed.

        Raises:
            UserError: there was no room; what was committed before is sound.
        """
        if (trouble := self._join()) is not None:
            raise trouble

    def _join(self) -> BaseException | None:
        if self._thread:
            self._thread.join()
        self._thread, trouble, self._error = None, self._error, None
        return trouble

    def _finish(self, begun: list[tuple[Checkpoints, Save]], size: int) -> None:
        try:
            for checkpoints, save in begun:
                with writing(checkpoints.folder, size):
                    save.finish()
            for checkpoints, save in begun:
                checkpoints.drop_before(save.position.place)
        except BaseException as error:
            self._error = error
            for _, save in begun:
                save.abandon()
