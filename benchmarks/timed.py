"""What accelerator.py has done in its workers: one job after another on one side."""

import gc
import time
from collections.abc import Callable, Sequence

from jobs import Job
from sides import Ours, Theirs

from alignreg_jax.data.batching import Dispatch

REPEATS = 3


class Timed:
    """A side that trains or evaluates one job after another."""

    def __init__(self, kind: type[Ours] | type[Theirs]):
        self.kind, self.work = kind, None

    def device(self) -> str:
        """What it runs on, and the version."""
        return self.kind.device()

    def residual(self) -> str:
        """Dtype of its residual stream where products are bfloat16."""
        return self.kind.residual()

    def prepare(
        self, job: Job, parts: Sequence[Dispatch], what: str, options: dict[str, bool]
    ) -> None:
        """Set a job up and go through its dispatches once, which compiles their programs."""
        self.release()
        side = self.kind(job, **options)
        for part in parts:
            side.hold(part)
        self.work = lambda: [getattr(side, what)(part) for part in parts]
        self.work()

    def time(self) -> float:
        """Seconds that the prepared job takes for its dispatches."""
        return least(self.work)

    def release(self) -> None:
        """Forget the job, and what it had on the device."""
        self.work = None
        gc.collect()
        self.kind.release()

    def peak(self, size: int) -> float:
        """Operations per second of a bfloat16 matrix product."""
        import jax

        # Random numbers: on zeros or ones a GPU draws less power and is faster than in real work
        left, right = (
            jax.random.normal(jax.random.key(seed), (size, size), jax.numpy.bfloat16)
            for seed in (0, 1)
        )
        product = jax.jit(jax.numpy.matmul)
        times = 20

        def several() -> None:
            for _ in range(times):
                result = product(left, right)
            result.block_until_ready()  # they are done in order

        return times * 2 * size**3 / least(several)

    def prune(self, scope: str, hidden: int) -> dict[str, float]:
        """prune_step.py's figures for weights of XLM-R base's form."""
        import prune_step

        return prune_step.measure(scope, prune_step.xlmr_kernels(hidden), 10)


def least(work: Callable[[], object]) -> float:
    """The least of several times, in seconds, after one that does not count."""
    work()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
