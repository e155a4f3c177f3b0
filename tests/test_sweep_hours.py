"""Hours of a sweep, against numbers computed by hand from the sizes that XGLUE's files have."""

import importlib.util

import pytest
import tiny

pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

PATH = tiny.ROOT / "benchmarks" / "sweep_hours.py"
spec = importlib.util.spec_from_file_location("sweep_hours", PATH)
sweep_hours = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sweep_hours)

TABLE_1 = ("--config", f"{tiny.ROOT}/configs/table1.py:short")
PAWSX = ("--config.tasks=pawsx", "--config.seeds=0")
RATES = ("--trained", "32=100", "128=50")
STEPS = 32 * 1544  # rows that 49,401 of PAWS-X take in batches of 32
ANSWERED = 4 * 4000  # dev and test in four languages


def told(capsys, *arguments, config=TABLE_1):
    """The table's lines by task, and what stands below it."""
    capsys.readouterr()
    assert sweep_hours.flags.execute([*config, *arguments], str, sweep_hours._run) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    rows = (line.split() for line in lines[2:] if " at " not in line)
    return {name: cells for name, *cells in rows}, lines[-1]


def test_a_shared_dense_phase_and_what_a_teacher_says_count_once(capsys):
    rows = ("l2-mbp", "l2-mbp@distill.teacher=dense", "movement")
    given = (*PAWSX, f"--config.methods={','.join(rows)}", *RATES)
    found, _ = told(capsys, *given)
    # 3 dense epochs and 12 with cuts of each; the learned one starts again: 3 more
    trained = (3 + 12 + 12 + 12 + 3) * STEPS
    answered = (1 + 3 * 12) * ANSWERED + 49_401
    assert found["pawsx"][:4] == ["3", f"{trained:,}", f"{answered:,}", "256"]


def test_hours_are_those_of_rows_of_a_length(capsys):
    given = (*PAWSX, "--config.methods=l2-mbp", *RATES)
    trained = 15 * STEPS
    for pieces, rate in ((32, 100), (16, 100), (128, 50), (80, 1 / 0.015), (256, 25)):
        found, _ = told(capsys, *given, "--pieces", f"pawsx={pieces}")
        assert found["all"][-1] == f"{trained / rate / 3600:.1f}"
    answers = ("--evaluated", "128=10", "--minutes-per-run", "30", "--price-per-hour", "2")
    found, last = told(capsys, *given, *answers, "--pieces", "pawsx=128")
    hours = (trained / 50 + 13 * ANSWERED / 10) / 3600 + 0.5
    assert found["pawsx"][-1] == found["all"][-1] == f"{hours:.1f}"
    assert found["pawsx"][-2] == f"{trained / 50 / 3600 / hours:.0%}"
    assert last == f"{2 * hours:,.0f} at 2 an hour"


def test_text_without_labels_is_half_of_its_epochs(capsys):
    study = ("--config", f"{tiny.ROOT}/configs/study.py:xglue", *PAWSX)
    rows = "l2-mbp@distill.teacher=dense@distill.text=data@pruning.epochs_per_step=1"
    found, _ = told(
        capsys, f"--config.methods={rows}", f"--config.baseline={rows}", *RATES, config=study
    )
    both = 32 * 3088  # rows that 2 x 49,401 take
    answered = 4 * ANSWERED + 2 * 49_401
    assert found["pawsx"][1:3] == [f"{4 * STEPS + 3 * both:,}", f"{answered:,}"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--trained"),
        (("--trained", "32"), "--trained 32: not of the form NAME=NUMBER with a number above 0"),
        (("--trained", "32=-1"), "--trained 32=-1: not of the form"),
        (("--trained", "long=10"), "--trained long=: not a number of pieces"),
        ((*RATES, "--pieces", "xnli=40"), "--pieces xnli=: the sweep has pawsx"),
        ((*RATES, "--config.tasks=folder"), "task.name=folder: has no rows that are known"),
    ],
)
def test_a_mistake_is_one_line(capsys, arguments, said):
    given = [*TABLE_1, *PAWSX, *arguments]
    assert sweep_hours.flags.execute(given, str, sweep_hours._run) == 2
    found = capsys.readouterr().err
    assert said in found
    assert found.count("\n") == 1
