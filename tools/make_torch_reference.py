"""Store PyTorch's outputs on the tiny encoders of tests/models/parity_cases.py.

    python tools/make_torch_reference.py

Needs torch (the package itself does not); rerun after a change of the cases. The tests compare with
these files where torch is not installed, and live with PyTorch where it is.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "models"))

from parity_cases import CASES, REFERENCE, torch_outputs


def main() -> None:
    REFERENCE.mkdir(exist_ok=True)
    for name, case in CASES.items():
        path = REFERENCE / f"{name}.npz"
        np.savez_compressed(path, **torch_outputs(case))
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
