"""The data sets that come with the library."""

from alignreg_jax.data.sources import DEMO_DATA, load
from alignreg_jax.data.tasks import get_task


def test_demo_intents_are_whole():
    data = load(get_task("intents"), source="demo", data_dir=None, languages=None)
    assert len(data.train.text_a) == 2843
    assert len(data.labels) == 23
    assert len(data.test) == len(data.dev) == 31
    assert data.languages[0] == "en"
    assert list(data.labels) == sorted(data.labels)
    assert data.notes == ()
    assert set(data.train.labels) == set(range(23))
    trained = {text.lower() for text in data.train.text_a}
    seen = {
        (language, text)
        for splits in (data.dev, data.test)
        for language, split in splits.items()
        for text in split.text_a
        if text.lower() in trained
    }
    assert seen == {("nb", "radio pause")}  # the same words in Norwegian


def test_bundled_data_carry_their_licences():
    notice = (DEMO_DATA / "NOTICE").read_text()
    for name in ("LICENSE-ISC", "LICENSE-Unicode-3.0"):
        assert name in notice
        assert "Permission" in (DEMO_DATA / name).read_text()
    assert len({path.name.split(".")[0] for path in (DEMO_DATA / "slots").iterdir()}) == 33
