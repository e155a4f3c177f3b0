"""What a finished run hands to its sweep's table."""

from alignreg_jax.run.cache import Cache
from alignreg_jax.sweeping.folder import Folder
from alignreg_jax.sweeping.table import _finished


def test_gold_of_a_token_task_is_the_tags_of_each_sentence(planned, tmp_path):
    base = {"eval.languages": ("en", "th"), "eval.examples": 5}
    first, second = planned(base, tasks=("slots",), methods=("l2-mbp",), seeds=(0, 1))
    cache, folder = Cache(), Folder(tmp_path)
    finished = _finished(first, folder, cache)
    assert (finished.row, finished.task, finished.seed) == ("l2-mbp", "slots", 0)
    assert {language for _, language in finished.gold} == {"en", "th"}
    for sentences in finished.gold.values():
        assert len(sentences) == 5
        assert all(isinstance(tag, str) for tags in sentences for tag in tags)
    assert any(tag.startswith("B-") for tags in finished.gold["test", "th"] for tag in tags)
    assert finished.queries == {}
    assert _finished(second, folder, cache).gold is finished.gold  # read once for all runs
