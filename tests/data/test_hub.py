import os
import shutil
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from alignreg_jax.data import hub
from alignreg_jax.data.sources import load
from alignreg_jax.data.tasks import get_task
from alignreg_jax.errors import UserError

NAMES = ["entailment", "neutral", "contradiction"]
CARD = """---
dataset_info:
- config_name: {config}
  features:
  - name: premise
    dtype: string
  - name: hypothesis
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': contradiction
          '1': neutral
          '2': entailment
---
"""


def rows(language, split, labels=(2, 0, 1)):
    return {
        "premise": [f"{language} {split} premise {row}" for row in range(len(labels))],
        "hypothesis": [f"{language} {split} hypothesis {row}" for row in range(len(labels))],
        "label": list(labels),
    }


def write(folder, language, split, columns, names=NAMES, shard="-00000-of-00001"):
    label = ClassLabel(names=list(names)) if names else Value("int64")
    features = Features(premise=Value("string"), hypothesis=Value("string"), label=label)
    path = folder / language / f"{split}{shard}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_dict(columns, features=features).to_parquet(path)
    return path


def write_bare(folder, language, split, columns):
    """Parquet without the Hub's metadata: the labels are only numbers."""
    path = folder / language / f"{split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "xnli"
    for language in ("en", "de", "zh"):
        for split in ("train", "validation", "test"):
            write(root, language, split, rows(language, split))
    write(root, "all_languages", "test", rows("all", "test"))
    return root


def load_xnli(folder, languages=None):
    return load(get_task("xnli"), source="hub", data_dir=str(folder), languages=languages)


def test_a_folder_laid_out_like_the_hub(folder):
    data = load_xnli(folder)
    assert data.labels == tuple(NAMES)
    assert data.train.text_a == [f"en train premise {row}" for row in range(3)]
    assert data.train.text_b == [f"en train hypothesis {row}" for row in range(3)]
    assert data.train.labels.tolist() == [2, 0, 1]
    assert list(data.dev) == list(data.test) == ["en", "de", "zh"]
    assert data.dev["de"].text_a[0] == "de validation premise 0"
    assert data.test["zh"].text_a[0] == "zh test premise 0"
    assert "en has training data" not in " ".join(data.notes)


def test_labels_go_by_name_whatever_their_order(folder):
    write(
        folder, "de", "test", rows("de", "test"), names=["neutral", "contradiction", "entailment"]
    )
    assert load_xnli(folder).test["de"].labels.tolist() == [0, 1, 2]
    write(folder, "de", "test", rows("de", "test"), names=["yes", "no", "maybe"])
    with pytest.raises(UserError, match=r"test-00000-of-00001.parquet:1: unknown label 'maybe'"):
        load_xnli(folder)


def test_the_card_names_labels_that_the_file_does_not(folder):
    path = write_bare(folder, "de", "test", rows("de", "test"))
    with pytest.raises(UserError, match="label holds numbers"):
        load_xnli(folder)
    (folder / "README.md").write_text(CARD.format(config="de"))
    assert load_xnli(folder).test["de"].labels.tolist() == [0, 2, 1]
    (folder / "README.md").write_text(CARD.format(config="fr"))
    with pytest.raises(UserError, match=str(path)):
        load_xnli(folder)


def test_labels_may_be_written_out(folder):
    columns = rows("de", "test") | {"label": ["neutral", "neutral", "entailment"]}
    write_bare(folder, "de", "test", columns)
    assert load_xnli(folder).test["de"].labels.tolist() == [1, 1, 0]


def test_shards_are_joined_in_order(folder):
    for shard in (0, 1):
        columns = rows("en", f"shard{shard}")
        write(folder, "en", "train", columns, shard=f"-0000{shard}-of-00002")
    (folder / "en" / "train-00000-of-00001.parquet").unlink()
    train = load_xnli(folder).train
    assert [text.split()[1] for text in train.text_a] == ["shard0"] * 3 + ["shard1"] * 3


def test_only_files_named_after_the_split_are_its_files(folder):
    write(folder, "de", "test_easy", rows("de", "easy"))
    path = folder / "de" / "test-00000-of-00001.parquet"
    assert load_xnli(folder).test["de"].text_a == rows("de", "test")["premise"]
    path.rename(path.with_name("test.parquet"))
    assert load_xnli(folder).test["de"].text_a == rows("de", "test")["premise"]


def test_files_beside_the_splits_are_noted(folder):
    for name in ("dev-00000-of-00001.parquet", "test.jsonl", "test.PARQUET"):
        (folder / "de" / name).write_bytes(b"")
    (folder / "all_languages" / "dev.parquet").write_bytes(b"")  # not of this task
    found = [note for note in load_xnli(folder).notes if "is not read" in note]
    assert [note.split("/de/")[1] for note in found] == [
        "dev-00000-of-00001.parquet is not read",
        "test.PARQUET is not read",
        "test.jsonl is not read",
    ]


def test_a_split_with_shards_missing_or_written_twice_is_refused(folder):
    path = folder / "de" / "test-00000-of-00001.parquet"
    path.rename(path.with_name("test-00000-of-00003.parquet"))
    write(folder, "de", "test", rows("de", "test"), shard="-00002-of-00003")
    with pytest.raises(UserError, match=r"test-00000-of-00003.*has 3 files, and 2 are there$"):
        load_xnli(folder)
    write(folder, "de", "test", rows("de", "test"), shard="-00001-of-00003")
    assert load_xnli(folder).test["de"].rows == 9
    for shard in ("", "-00000-of-00001"):
        again = write(folder, "de", "test", rows("de", "test"), shard=shard)
        with pytest.raises(UserError, match="the split is there twice"):
            load_xnli(folder)
        again.unlink()


@pytest.mark.parametrize("column", ["premise", "label"])
def test_text_that_is_not_utf_8_is_named(folder, column):
    latin = pyarrow.array([b"neutral", b"neutral", b"caf\xe9"]).view(pyarrow.string())
    path = write_bare(folder, "de", "test", rows("de", "test", [1, 1, 1]) | {column: latin})
    (folder / "README.md").write_text(CARD.format(config="de"))
    with pytest.raises(UserError) as caught:
        load_xnli(folder)
    assert str(caught.value) == f"{path}: {column} is not UTF-8 in row 3"


def test_bad_columns_and_rows_are_named(folder):
    def refused(expected, **changes):
        columns = {k: v for k, v in (rows("de", "test") | changes).items() if v is not None}
        path = write_bare(folder, "de", "test", columns)
        (folder / "README.md").write_text(CARD.format(config="de"))
        with pytest.raises(UserError) as caught:
            load_xnli(folder)
        assert str(caught.value).startswith(str(path))
        assert expected in str(caught.value)
        assert "\n" not in str(caught.value)

    refused("has no column hypothesis", hypothesis=None)
    refused("premise must be a string, not int64", premise=[1, 2, 3])
    refused("premise is null in row 2", premise=["a", None, "c"])
    refused("row 3 has no label (-1", label=[0, 1, -1])
    refused("row 1 has no label (3", label=[3, 1, 1])
    refused("row 2 has no label (None", label=pyarrow.array([0, None, 1], pyarrow.int64()))
    empty = {"premise": pyarrow.array([], pyarrow.string())}
    refused("has no rows", **empty, hypothesis=empty["premise"], label=empty["premise"])


def test_a_file_that_is_not_parquet_is_named(folder):
    (folder / "de" / "test-00000-of-00001.parquet").write_bytes(b"version https://git-lfs")
    with pytest.raises(
        UserError, match=r"de/test-00000-of-00001\.parquet: not readable as parquet"
    ):
        load_xnli(folder)


def test_languages_and_files_that_are_missing(folder, tmp_path):
    assert list(load_xnli(folder, ("zh",)).test) == ["en", "zh"]
    note = f"{folder} has no ar, bg, el, es, fr, hi, ru, sw, th, tr, ur, vi for xnli, so that its"
    assert load_xnli(folder).notes[0].startswith(note)
    with pytest.raises(UserError, match="has no 'fr'; it has de, en, zh; get XGLUE from"):
        load_xnli(folder, ("fr",))
    (folder / "de" / "validation-00000-of-00001.parquet").unlink()
    assert "de has no dev data" in load_xnli(folder).notes
    (folder / "en" / "train-00000-of-00001.parquet").unlink()
    with pytest.raises(UserError, match=r"en/train-\*\.parquet: missing"):
        load_xnli(folder)
    with pytest.raises(UserError, match="no such folder"):
        load_xnli(tmp_path / "absent")


def test_a_language_the_task_lacks_is_refused_before_the_hub_is_asked():
    with pytest.raises(UserError, match="paws-x has no 'sw'; it has de, en, es, fr"):
        load(get_task("pawsx"), source="hub", data_dir=None, languages=("sw",))


OFFLINE = """
from alignreg_jax.data import hub
from alignreg_jax.data.sources import load
from alignreg_jax.data.tasks import get_task
from alignreg_jax.errors import UserError
for task, languages in (("xnli", None), ("xnli", ("zh",)), ("xnli", ("fr",)), ("pawsx", None)):
    try:
        data = load(get_task(task), source="hub", data_dir=None, languages=languages)
        print(len(data.train.text_a), *data.test)
    except UserError as error:
        print(error)
"""


def test_the_hubs_cache_serves_offline(folder, tmp_path):
    """The cache's layout by hand: a snapshot, and refs/main that names it."""
    repository = tmp_path / "home" / "hub" / "datasets--facebook--xnli"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123abcd")
    shutil.copytree(folder, repository / "snapshots" / "0123abcd")
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE], env=environment, capture_output=True, text=True, check=True
    )
    everything, chinese, french, absent = done.stdout.splitlines()
    assert everything == "3 en de zh"
    assert chinese == "3 en zh"
    assert "has no 'fr'; it has de, en, zh" in french
    assert "google-research-datasets/paws-x cannot be had from the Hub" in absent
    assert "pass task.data_dir=FOLDER" in absent


@pytest.fixture
def xnli(tmp_path):
    """Of two languages a config each, and all of them again with translations in a row."""
    folder = tmp_path / "xnli"
    for language in ("de", "sw"):
        write(folder, language, "train", rows(language, "train"))
    together = {
        "premise": [{"de": "de a", "sw": "sw a"}],
        "hypothesis": [{"language": ["de", "sw"], "translation": ["de b", "sw b"]}],
        "label": [0],
    }
    path = write_bare(folder, "all_languages", "train", together)
    path.rename(path.with_name("train-00000-of-00004.parquet"))  # the others are not there
    return folder


@pytest.mark.parametrize("languages", [(), ("sw",)])
def test_text_of_each_language_goes_before_all_together(xnli, languages):
    found, labelled = hub.texts(
        get_task("xnli"), xnli, pair=True, languages=languages, progress=lambda size: None
    )
    assert sorted(found) == (list(languages) or ["de", "sw"])
    assert found["sw"].text_a[0] == "sw train premise 0"
    assert labelled
    for language in ("de", "sw"):
        shutil.rmtree(xnli / language)
    with pytest.raises(UserError, match=r"has no column language"):
        hub.texts(get_task("xnli"), xnli, pair=True, languages=(), progress=lambda size: None)


def test_what_is_half_there_and_not_read_is_no_mistake(xnli, folder):
    assert xnli == folder
    assert set(load_xnli(folder).test) == {"en", "de", "zh"}


@pytest.mark.parametrize(
    ("languages", "again"), [((), False), (("de", "sw"), False), (("de", "th"), True)]
)
def test_all_languages_together_are_fetched_where_one_has_no_other(
    xnli, monkeypatch, languages, again
):
    asked = []

    def snapshot_download(name, *, repo_type, allow_patterns, ignore_patterns):
        asked.append((allow_patterns, ignore_patterns))
        return str(xnli)

    monkeypatch.setattr(hub.huggingface_hub, "snapshot_download", snapshot_download)
    assert hub.fetched_text("facebook/xnli", languages, "distill.text") == xnli
    whole = "all_languages/train*.parquet"
    assert whole in asked[0][1]
    assert [whole in allowed for allowed, without in asked[1:] if not without] == [True] * again


@pytest.mark.parametrize(
    ("name", "split", "language"),
    [
        ("train-00000-of-00001.parquet", "train", None),
        ("train.parquet", "train", None),
        ("train.de-00000-of-00001.parquet", "train", "de"),
        ("train.es-419-00000-of-00001.parquet", "train", "es-419"),
        ("train.zh_Hans-00000-of-00001-ab12.parquet", "train", "zh_Hans"),
        ("validation.zh-CN.parquet", "validation", "zh-CN"),
        ("test.x12.parquet", "test", "x12"),
        ("train.de-0000.parquet", "train", "de"),
        ("train.de-00000.parquet", "train", "de"),
        ("train.es-419.parquet", "train", "es-419"),
    ],
)
def test_languages_in_names_of_files(name, split, language):
    assert hub.FILE_NAME.fullmatch(name).groups() == (split, language)
