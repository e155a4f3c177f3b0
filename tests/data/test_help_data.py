"""tools/build_help_data.py: tasks out of translated help, on two pages of our own."""

import json
import sys

import pytest
import tiny

PAGE = """<page xmlns="http://projectmallard.org/1.0/" id="{id}">
 <info><desc>no</desc><license><p>no paragraph of the page</p></license></info>
 <title>{id}</title>
 <p>{first} <gui style="menu">{menu}</gui> / <keyseq><key>Ctrl</key><key>O</key></keyseq>.</p>
 <steps><item><p>{second} <app>{app}</app>, <em>{third}</em>.</p></item></steps>
</page>
"""
WORDS = {
    "C": {"first": "Click on", "menu": "Open file", "second": "Start the", "third": "then wait"},
    "de": {"first": "Klicken auf", "menu": "Öffnen", "second": "Dann das", "third": "bitte warten"},
    "ja": {"first": "次に", "menu": "開く", "second": "起動", "third": "待つ"},
}


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(tiny.ROOT / "tools")
    import build_help_data

    yield build_help_data
    del sys.modules["build_help_data"]


@pytest.fixture
def root(tmp_path):
    for language, words in WORDS.items():
        folder = tmp_path / "usr/share/help" / language / "gnome-help"
        folder.mkdir(parents=True)
        for page in range(40):
            kind = ("net", "power", "odd")[page % 3]
            text = PAGE.format(id=f"{kind}-{page}", app=f"App{page}", **words)
            (folder / f"{kind}-{page}.page").write_text(text)
    (folder / "net-0.page").write_text("<page><p>of another form than in English</p></page>")
    untranslated = (tmp_path / "usr/share/help/C/gnome-help/net-6.page").read_text()
    (folder / "net-6.page").write_text(untranslated)
    (folder / "net-3.page").write_text("<page><p>&legal;</p></page>")
    return tmp_path


def test_words_are_tagged_by_the_elements_they_stand_in(tool, root):
    found = tool.help_of(root, "gnome-user-docs")
    first = found["en"]["gnome-user-docs:gnome-help/net-0.page#0"]
    assert first.text == "Click on Open file / CtrlO."
    assert " ".join(first.words) == "Click on Open file / Ctrl O ."
    assert first.tags == ("O", "O", "B-GUI", "I-GUI", "O", "B-KEY", "I-KEY", "O")
    second = found["de"]["gnome-user-docs:gnome-help/net-0.page#1"]
    assert list(zip(second.words, second.tags, strict=True))[2:4] == [("App0", "B-APP"), (",", "O")]
    third = found["ja"]["gnome-user-docs:gnome-help/power-1.page#0"]
    assert third.words[:4] == ("次", "に", "開", "く")
    assert third.tags[:4] == ("O", "O", "B-GUI", "I-GUI")
    # A page that does not line up with the English one, cannot be read or is English is left out
    pages = {paragraph.page for paragraph in found["ja"].values()}
    assert not pages & {f"gnome-user-docs:gnome-help/net-{page}.page" for page in (0, 3, 6)}
    assert len(pages) == 37


def test_tasks_are_split_by_page_and_text(tool, root, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "FEWEST", 1)
    found = tool.help_of(root, "gnome-user-docs")
    rows = {
        language: {
            name: {"text": each.text, "label": tool.topic(each)}
            for name, each in own.items()
            if tool.topic(each)
        }
        for language, own in found.items()
    }
    tool.write_task(tmp_path / "topics", found, rows)
    files = {
        path.name: [json.loads(line) for line in path.read_text().splitlines()]
        for path in (tmp_path / "topics").iterdir()
    }
    assert {row["label"] for row in files["en.train.jsonl"]} == {"network", "power"}
    pages = {
        split: {row["id"].partition("#")[0] for row in files[f"en.{split}.jsonl"]}
        for split in ("train", "dev", "test")
    }
    assert all(pages.values())
    assert not pages["train"] & pages["test"]
    assert not pages["dev"] & pages["test"]
    english = [row["text"] for name, of in files.items() if name[:2] == "en" for row in of]
    assert len({*english}) == len(english)  # the first paragraph of all pages is one text
    # Other languages have the same rows, and text without labels of the pages that train
    assert {row["id"] for row in files["de.test.jsonl"]} <= {
        row["id"] for row in files["en.test.jsonl"]
    }
    assert "de.train.jsonl" not in files
    assert [*files["de.unlabelled.jsonl"][0]] == ["text"]
    assert not {row["text"] for row in files["de.unlabelled.jsonl"]} & {
        row["text"] for row in files["de.test.jsonl"]
    }


def test_a_package_that_is_missing_is_named(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["build_help_data.py", "out", "--debs", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"lacks the packages gnome-user-docs, evolution"):
        tool.main()
