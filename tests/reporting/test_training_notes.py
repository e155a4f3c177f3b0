"""Sentences on how a model was trained."""

from alignreg_jax.reporting.run_words import notes

CUT = {"kind": "prune", "prunable": 1000, "kept": 310}
TAUGHT = {
    "kind": "teach", "teacher": "/home/someone/large", "weight": 0.5, "temperature": 1.0,
    "hidden": 0.0, "text": {},
}  # fmt: skip


def test_a_run_without_a_teacher_or_learned_masks_has_none():
    assert notes([{"kind": "train"}, CUT]) == []


def test_what_a_threshold_left_is_told_where_it_is_not_what_was_asked_for():
    assert notes([{**CUT, "kept_before_cut": 312}]) == []
    (note,) = notes([{**CUT, "kept_before_cut": 900}, {**CUT, "kept_before_cut": 520}])
    assert "left 52.0 %" in note
    assert "left 31.0 %" in note


def test_a_teacher_of_this_machine_is_named_without_its_path():
    (note,) = notes([TAUGHT])
    assert note.startswith("Another model, large, taught it (50 % of the loss, temperature 1)")
    assert "home" not in note
