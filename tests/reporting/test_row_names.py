"""What rows are called in figures: as short as tells them apart."""

from hypothesis import given
from hypothesis import strategies as st

from alignreg_jax.reporting.sweeps import styles


def test_names_in_figures_are_as_short_as_tells_rows_apart():
    teacher, text = "@distill.teacher=dense", "@distill.text=data@pruning.epochs_per_step=2"
    rows = [f"{m}{more}" for m in ("l2-mbp", "lamp") for more in ("", teacher, teacher + text)]
    assert list(styles.told_apart(rows).values()) == [
        *("l2-mbp", "l2-mbp, teacher=dense", "l2-mbp, text=data"),
        *("lamp", "lamp, teacher=dense", "lamp, text=data"),
    ]
    cut = "@distill.text=data@pruning.epochs_per_step=0@pruning.gradients_on=text"
    rows = ["wanda@pruning.epochs_per_step=0", f"wanda{cut}", f"wanda{teacher}{text}"]
    assert list(styles.told_apart(rows).values()) == [
        "wanda, epochs_per_step=0", "wanda, text=data, epochs_per_step=0",
        "wanda, epochs_per_step=2",
    ], "text=data would be both of the last"  # fmt: skip
    rate = ["lamp", "lamp@train.learning_rate=0.01@pruning.scope=layer"]
    assert styles.told_apart(rate)[rate[1]] == "lamp, learning_rate=0.01"
    text = [f"{method}@distill.teacher=dense@distill.text=data" for method in ("lamp", "l2-mbp")]
    assert list(styles.told_apart(["l2-mbp", *text]).values()) == [
        "l2-mbp", "lamp, text=data", "l2-mbp, text=data"
    ]  # fmt: skip
    alike = ["lamp@distill.weight=0", "lamp@regularizer.weight=0"]
    assert list(styles.told_apart(alike).values()) == alike, "weight=0 would be both"


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.lists(st.sampled_from(["x.p=1", "x.p=2", "y.p=1", "y.q=0.5"]), unique=True),
    ).map(lambda pair: "@".join([pair[0], *pair[1]])),
    unique=True,
    max_size=8,
)


@given(ROWS)
def test_two_rows_never_have_one_name(rows):
    names = styles.told_apart(rows)
    assert len(set(names.values())) == len(rows)
    assert list(names) == rows


@given(ROWS)
def test_a_name_fits_no_other_row_that_the_whole_would_not_fit(rows):
    whole = {row: {*row.split("@")} for row in rows}
    for row, name in styles.told_apart(rows).items():
        if name != row:
            method, *fields = name.split(", ")
            kept = {method, *(f for f in whole[row] if f.partition(".")[2] in fields)}
            assert not [o for o in rows if whole[o] >= kept and not whole[o] >= whole[row]]
