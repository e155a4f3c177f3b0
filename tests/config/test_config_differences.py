"""In what two configurations differ, also where one is of before a field came."""

from alignreg_jax.config import default_config, differences, resolve, to_dict, with_later_fields


def test_differences_name_every_field():
    old = {"a": 1, "b": {"c": [1], "d": None}, "gone": 2}
    new = {"a": 1, "b": {"c": [2], "d": 0.0}, "new": {"e": 1}}
    assert differences(old, old) == []
    found = differences(old, new)
    assert [text.split(" ")[0] for text in found] == ["b.c", "b.d", "gone", "new"]


def test_a_run_of_before_a_field_came_has_what_was_done_then():
    old = to_dict(resolve(default_config()))
    del old["train"]["epoch_parts"], old["train"]["accumulation"]
    now = to_dict(resolve(default_config()))
    assert differences(with_later_fields(old), now) == ["train.epoch_parts (1 -> 16)"]
