"""The program as one of several processes, noting which masks it holds after every cut.

That another one is dead is found out after seconds; JAX itself waits for more than a minute.
"""

import hashlib
import os
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np

from alignreg_jax import main
from alignreg_jax.training.trainer import Trainer

prune = Trainer.prune


def noting(self, *arguments):
    prune(self, *arguments)
    with Path(os.environ["NOTES"]).open("a") as file:
        for name, mask in sorted(self.state.masks.items()):
            for shard in mask.addressable_shards:
                digest = hashlib.sha256(np.asarray(shard.data).tobytes()).hexdigest()
                place = [(part.start or 0, part.stop) for part in shard.index]
                file.write(f"{self.step} {name} {place} {digest}\n")


Trainer.prune = noting
jax.distributed.initialize = partial(jax.distributed.initialize, heartbeat_timeout_seconds=10)

if __name__ == "__main__":
    sys.exit(main.main(sys.argv[1:]))
