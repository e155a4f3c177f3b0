"""Stands in for the program: counts steps, with checkpoints, history and exit codes as promised.

Every step is an event in metrics.jsonl and every second one a checkpoint in the program's form, of
which two are kept. `--halts 3,7`: the first start hangs at step 3, the second at step 7, and then
none does. `--fails 4:1,6:137`: the first start exits with 1 at step 4, the second with 137 at 6.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from itertools import pairwise
from pathlib import Path


def main(arguments):
    options = {"steps": "8", "halts": "", "fails": "", "note": ""}
    for name, value in pairwise(arguments):
        if name.startswith("--"):
            options[name[2:]] = value
    workdir = Path(options["workdir"])
    starts = record(Path(os.environ["STARTS"]), options["note"])
    workdir.mkdir(parents=True, exist_ok=True)
    if not (workdir / "config.json").exists():
        if any(workdir.iterdir()) and not (workdir / "config.json").exists():
            print("error: not empty and holds no run", file=sys.stderr)
            return 2
        (workdir / "config.json").write_text("{}")
    if (workdir / "results.json").exists():
        return 0
    halts = [*options["halts"].split(","), *starts * [""]][starts - 1]
    fails = [*options["fails"].split(","), *starts * [""]][starts - 1]
    step = resume(workdir)
    while step < int(options["steps"]):
        if halts == str(step):
            time.sleep(600)
        if fails.startswith(f"{step}:"):
            return int(fails.partition(":")[2])
        with (workdir / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"n": step, "kind": "train", "step": step}) + "\n")
        step += 1
        if step % 2 == 0:
            save(workdir / "checkpoints", step)
    (workdir / "export").mkdir(exist_ok=True)
    (workdir / "export" / "config.json").write_text("the model")
    (workdir / "results.json").write_text('{"finished": true}')
    return 0


def record(path, entry):
    """Write a line down; how many there are."""
    with path.open("a") as file:
        file.write(f"{entry}\n")
    return len(path.read_text().splitlines())


def resume(workdir):
    """The step of the newest checkpoint; the history is cut back to it."""
    manifests = sorted((workdir / "checkpoints").glob("*.json"))
    position = json.loads(manifests[-1].read_text())["position"] if manifests else {}
    events = position.get("events", 0)
    metrics = workdir / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True) if metrics.exists() else []
    if len(lines) < events:
        sys.exit(2)
    metrics.write_text("".join(lines[:events]))
    return position.get("step", 0)


def save(folder, step, keep=2):
    """A checkpoint as the program leaves it: files, then the manifest, then the oldest goes."""
    numbers = [int(path.stem) for path in folder.glob("*.json")]
    target = folder / f"{max(numbers, default=-1) + 1:06d}"
    shutil.rmtree(target, ignore_errors=True)  # of a save that was killed
    (target / "d").mkdir(parents=True)
    for name in ("weights", "d/moments"):
        (target / name).write_text(f"{name} after {step} steps")
    position = {"step": step, "phase": 0, "epoch": 0, "dispatch": step, "events": step}
    content = {
        "position": {**position, "seconds": 0.0, "evaluated": False},
        "files": {name: digest((target / name).read_bytes()) for name in ("d/moments", "weights")},
    }
    text = json.dumps({**content, "digest": digest(json.dumps(content).encode())}, indent=1)
    partial = folder / f".{target.name}.json.abcdefgh"
    partial.write_text(text)
    partial.rename(target.with_suffix(".json"))
    for old in sorted(folder.glob("[0-9]*.json"))[:-keep]:
        old.unlink()
        shutil.rmtree(old.with_suffix(""))


def digest(data):
    """Of a file, as in a manifest."""
    return hashlib.blake2b(data).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
