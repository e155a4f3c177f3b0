"""A run that ends as by a kill, again and again, in this process.

What a real SIGKILL leaves half-written is run/test_resume.py's; here is what a start makes of a
sound checkpoint, without a new process for each start.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from alignreg_jax.run import launch
from alignreg_jax.training.trainer import Trainer


class Killed(BaseException):
    """No handler of the program's own catches it."""


def run(config, workdir: Path, moments: Sequence[Callable[[Path], bool]] = ()) -> None:
    """Run to the end; at each moment in turn, before a dispatch, it is ended and begun again.

    A moment that never comes is an error, or a test would show nothing.
    """
    left, dispatch = list(moments), Trainer.dispatch

    def mortal(trainer, *given, **named):
        if left and left[0](workdir):
            del left[0]
            raise Killed
        return dispatch(trainer, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "dispatch", mortal)
        for _ in moments:
            with pytest.raises(Killed):
                launch.run(config, {config.seed: workdir}, "the command", time.monotonic())
        launch.run(config, {config.seed: workdir}, "the command", time.monotonic())
    assert not left
