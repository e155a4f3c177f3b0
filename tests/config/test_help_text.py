"""What --help says of fields."""

from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict

from alignreg_jax.config import default_config, field_paths
from alignreg_jax.config.help_text import WIDTH, help_text, shown
from alignreg_jax.config.paths import meanings
from alignreg_jax.support.flags import words
from alignreg_jax.sweeping import starts


def test_every_field_of_a_run_and_of_a_sweep_has_a_meaning():
    for found in (meanings(), starts.field_meanings()):
        assert all(len(text) > 3 and text == text.strip(" .") for text in found.values())
    assert list(meanings()) == field_paths()
    own = [path for path in starts.field_meanings() if not path.startswith("base.")]
    assert sorted([*own, "base"]) == sorted(starts.default_config())


def test_a_field_has_its_value_and_meaning_and_a_star_where_the_config_differs():
    config = default_config()
    config.train.freeze = ("embeddings", "encoder")
    config.task.data_dir = "/a/folder/" + "long/" * 30
    text = help_text(config, default_config(), meanings())
    lines = text.splitlines()
    assert [line for line in lines if line[:1] == "*"] == [
        line for line in lines if "task.data_dir=" in line or "train.freeze=" in line
    ]
    assert any(line.startswith("* --config.train.freeze=embeddings,encoder") for line in lines)
    assert any(line.startswith("  --config.mesh.data=-1 ") for line in lines)
    for path, meaning in meanings().items():
        assert f"--config.{path}=" in text
        assert meaning in " ".join(text.split())
    assert text.count("\n\n") == 10  # a section each, and what is outside of them


def test_a_long_list_is_folded_where_a_field_begins_and_long_numbers_are_rounded():
    rows = tuple(f"l2-mbp@train.learning_rate=1e-0{n}@pruning.scope=global" for n in range(1, 6))
    config = ConfigDict({"methods": rows, "remaining": (0.9**11, 0.25), "rate": 5e-06})
    lines = help_text(config, config, dict.fromkeys(config, "words")).splitlines()
    assert "  --config.remaining=0.3138,0.25" in " ".join(lines)
    assert "--config.rate=5e-06" in " ".join(lines)
    assert max(map(len, lines)) <= WIDTH
    begins = [line.strip() for line in lines if "@" in line]
    assert len(begins) > 2
    assert all(line.startswith(("--config.methods=", "l2-mbp@", "@")) for line in begins)


@given(st.lists(st.text("abc", min_size=1, max_size=9), max_size=30))
def test_lines_are_no_wider_than_a_terminal_and_lists_are_as_flags_take_them(items):
    default = ConfigDict({"base": {"a": ("x",)}})
    config = ConfigDict({"base": {"a": tuple(items)}})
    text = help_text(config, default, {"base.a": "many words " * 20}, "base.")
    assert all(len(line) <= WIDTH or " " not in line.strip("* ") for line in text.splitlines())
    assert words(shown(tuple(items))) == tuple(items)
