"""Fewer pieces: texts that are covered keep theirs and their answers, and the rest is told."""

import json
import random
import shutil
from functools import cache

import empties
import numpy as np
import pytest
import tiny
from flax.traverse_util import flatten_dict, unflatten_dict
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from alignreg_jax import trim as program
from alignreg_jax.compress import agreement, coverage, folders
from alignreg_jax.compress.coverage import Sample
from alignreg_jax.compress.pieces import Pieces
from alignreg_jax.compress.trim import MAP, Wanted, trim
from alignreg_jax.data.sources import DEMO_DATA
from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints, saving, vocabulary
from alignreg_jax.pruning import size_files
from alignreg_jax.run import digests
from alignreg_jax.run.export import check_stock_tokenizer
from alignreg_jax.run.inputs import load_inputs

DEMO = DEMO_DATA.parent / "encoder"


@cache
def demo():
    return Pieces(DEMO / "tokenizer.json")


def evaluated(language):
    lines = (DEMO_DATA / "intents" / f"{language}.test.jsonl").read_text(encoding="utf-8")
    return [json.loads(line)["text"] for line in lines.split("\n")[:-1]]


@cache
def bundled():
    """Texts of every bundled language."""
    names = sorted(path.name.split(".")[0] for path in DEMO_DATA.glob("intents/*.test.jsonl"))
    return [text for name in names for text in evaluated(name)]


def written(text, folder):
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    return Pieces(folder / "tokenizer.json")


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 400))
def test_covered_texts_keep_their_pieces_one_to_one(tmp_path_factory, seed, count):
    texts = random.Random(seed).sample(bundled(), count)
    ids, text = demo().cut(demo().of_texts(texts))
    new = written(text, tmp_path_factory.mktemp("cut"))
    assert new.names == [demo().names[one] for one in ids]
    for old, now in zip(demo().read(texts), new.read(texts), strict=True):
        assert ids[now].tolist() == old
    assert new.tokenizer.encode("a", "b").tokens[::2][:1] == ["<s>"]
    for name in ("<s>", "<pad>", "</s>", "<unk>"):
        assert new.tokenizer.token_to_id(name) == demo().tokenizer.token_to_id(name)


def test_a_sign_that_no_piece_has_costs_what_it_did(tmp_path):
    """<unk> costs the lowest score less 10; with another price a text could split otherwise."""
    ids, text = demo().cut(demo().of_texts(["licht"]))
    new = written(text, tmp_path)
    assert new.scores.min() == demo().scores.min()
    assert new.unknown == demo().unknown == 3
    (numbers,) = new.read(["licht \u4e02"])
    assert new.unknown in numbers
    assert ids[numbers].tolist() == demo().read(["licht \u4e02"])[0]


def test_unknown_may_stand_anywhere(tmp_path):
    pieces = [
        ("<s>", 0.0),
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("a", -1.0),
        ("b", -2.0),
        ("<unk>", -3.0),
    ]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=5))
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    old = written(tokenizer.to_str(), tmp_path)
    ids, text = old.cut(old.of_texts(["a"]))
    assert ids.tolist() == [0, 1, 2, 3, 5]
    assert written(text, tmp_path).read(["ac"]) == [[3, 4]]


def test_every_bundled_text_of_two_languages_and_what_the_others_lose(tmp_path):
    languages = {name: evaluated(name) for name in ("de", "th", "fi")}
    kept = demo().of_texts(languages["de"] + languages["th"])
    new = written(demo().cut(kept)[1], tmp_path)
    samples = [Sample(name, texts, np.ones(len(texts))) for name, texts in languages.items()]
    german, thai, finnish = (coverage.loss(demo(), new, sample) for sample in samples)
    for loss in (german, thai):
        assert (loss.pieces, loss.unchanged) == (1.0, 1.0)
        assert not loss.warned
    assert finnish.pieces > 1.2
    assert finnish.unchanged < 0.5
    assert finnish.warned


@pytest.fixture(scope="module")
def folder_of(world, tmp_path_factory):
    """Head -> a folder with it."""
    made = tmp_path_factory.mktemp("models")
    for head in ("dense-tanh-out", "token", "linear"):
        loaded = checkpoints.load(
            world.encoder, head=head, labels=tiny.LABELS, seed=3, new_head=True
        )
        model = {"head": head, "labels": tiny.LABELS, "source": world.encoder}
        checkpoints.save(made / head, loaded.params, loaded.config, **model)
    return made


def german(count=20):
    return [" ".join(f"de{(7 * i + j) % 10}" for j in range(1 + i % 9)) for i in range(count)]


@pytest.mark.parametrize("head", ["dense-tanh-out", "token", "linear", None])
def test_answers_to_covered_texts_are_the_same_to_the_bit(world, folder_of, tmp_path, head):
    folder = folder_of / head if head else world.encoder
    done = trim(folder, tmp_path / "out", Wanted({"de": german()}, {}))
    ids = np.array(json.loads((tmp_path / "out" / MAP).read_text())["ids"])
    assert done.pieces == (65, len(ids)) == (65, 15)
    before, after = (folders.read(each).network for each in (folder, tmp_path / "out"))
    assert after.head == before.head
    rows = Pieces(tmp_path / "out" / "tokenizer.json").tokenizer.encode_batch(german())
    for numbers in (row.ids for row in rows):
        new = np.array([numbers], np.int32)
        answers = [
            np.asarray(agreement._ask(network, each, np.array([len(numbers)], np.int32)))
            for network, each in ((before, ids[new].astype(np.int32)), (after, new))
        ]
        np.testing.assert_array_equal(*answers)
    check_stock_tokenizer(tmp_path / "out", german())


def test_what_was_written_is_read_again(world, tmp_path, monkeypatch):
    """Rows that are in another order would be another model; nothing of it stays."""
    save = saving.save

    def wrongly(folder, params, *given, **named):
        leaves = flatten_dict(params, sep="/")
        leaves[vocabulary.PATH] = leaves[vocabulary.PATH][::-1]
        save(folder, unflatten_dict(leaves, sep="/"), *given, **named)

    monkeypatch.setattr(saving, "save", wrongly)
    with pytest.raises(UserError, match="what was written is not what was read"):
        trim(world.encoder, tmp_path / "out", Wanted({"de": german()}, {}))
    assert not list(tmp_path.iterdir())


def test_a_run_starts_from_it(world, tmp_path):
    words = {name: [f"{name}{i}" for i in range(20)] for name in tiny.LANGUAGES[:2]}
    trim(world.encoder, tmp_path / "out", Wanted(words, {}))
    config = tiny.configured(world, f"--config.model.name_or_path={tmp_path / 'out'}")
    inputs = load_inputs(config)
    assert inputs.encoder.config.vocab_size < 65


def test_a_model_of_all_sizes_stays_one(world, folder_of, tmp_path):
    folder = shutil.copytree(folder_of / "dense-tanh-out", tmp_path / "export")
    network = folders.read(folder).network
    tau = {"heads": np.ones((2, 4), np.float32), "ffn": np.ones((2, 64), np.float32)}
    own = digests.of_encoder(network.params, network.config)
    (folder / size_files.SIZES).write_bytes(size_files.Sizes(tau, 0.5, own).to_bytes())
    trim(folder, tmp_path / "out", Wanted({"de": german()}, {}))
    moved, now = size_files.read(tmp_path / "out"), folders.read(tmp_path / "out").network
    assert moved.encoder == digests.of_encoder(now.params, now.config) != own
    (folder / size_files.SIZES).write_bytes(size_files.Sizes(tau, 0.5, "another").to_bytes())
    with pytest.raises(UserError, match="belongs to another model than its weights"):
        trim(folder, tmp_path / "other", Wanted({"de": german()}, {}))
    assert not (tmp_path / "other").exists()


def test_what_is_taken_first_by_hand():
    """Texts, then letters of their scripts, then signs, then pieces by frequency."""
    words = {"de": {"Licht": 3.0, "Wetter": 1.0}}
    texts = ["Licht"]
    needed = demo().always() | demo().of_texts(texts)
    letters = [one for one in demo().letters({"LATIN"}) if one not in needed]
    signs = [one for one in demo().signs() if one not in needed][: coverage.SIGNS]

    def chosen(tokens, languages=words, **more):
        given = {"needed": set(), "coverage": 1.0, **more}
        return coverage.choose(demo(), texts, languages, tokens=tokens, **given)

    assert chosen(len(needed)) == needed
    assert chosen(len(needed) + 2) == needed | set(letters[:2])
    everything = needed | set(letters) | set(signs)
    by_frequency = [
        one for one in np.flatnonzero(demo().weights(words["de"])) if one not in everything
    ]
    assert by_frequency
    assert chosen(None) == everything | set(by_frequency)
    assert len(chosen(None, multiple=64)) % 64 == 0
    assert chosen(None, multiple=64) >= chosen(None)
    assert len(chosen(200, multiple=64)) == 192  # never more than was asked for
    with pytest.raises(
        UserError, match=r"room for 1 pieces, and the tokenizer's own need \d+; give"
    ):
        coverage.choose(demo(), [], {"en": {"a": 1.0}}, needed=set(), tokens=1, coverage=1.0)
    with pytest.raises(UserError, match=rf"room for 5 pieces, and the texts need {len(needed)}"):
        chosen(5)


def test_frequencies_are_of_running_text_and_languages_weigh_alike():
    found = demo().weights({"licht": 3.0, "wetter": 1.0})
    assert found.sum() == pytest.approx(1)
    often, seldom = (demo().read([word])[0] for word in ("licht", "wetter"))
    only = set(often) - set(seldom), set(seldom) - set(often)
    assert found[list(only[0])].sum() > found[list(only[1])].sum() > 0
    thai = demo().weights({"เปิด": 1.0})
    assert thai[demo().read(["。เปิด"])[0][-1]] > 0  # as it stands within a sentence


def test_coverage_is_met_by_every_language():
    languages = {"de": {"licht": 2.0, "wetter": 1.0, "morgen": 0.01}, "fi": {"valo": 1.0}}
    kept = sorted(coverage.choose(demo(), [], languages, needed=set(), tokens=None, coverage=0.9))
    for words in languages.values():
        assert demo().weights(words)[kept].sum() >= 0.9


# ---- The command line ---------------------------------------------------------------------------


def lists(folder, **languages):
    folder.mkdir()
    for name, words in languages.items():
        (folder / f"{name}.txt").write_text(words, encoding="utf-8")
    return str(folder)


def test_the_command_says_what_was_lost(world, tmp_path, capsys, caplog):
    (tmp_path / "de.txt").write_text("\n".join(german()) + "\n\n", encoding="utf-8")
    own = lists(tmp_path / "lists", en="en1\nen2\n", sw="sw1\t5\nsw2\t2\n")
    out = tmp_path / "out"
    command = [str(world.encoder), "--out", str(out), "--text", str(tmp_path / "de.txt")]
    assert program.main([*command, "--languages", "sw", "--word-lists", own]) == 0
    said = capsys.readouterr().out
    assert "pieces             65 ->            19  29.2%" in said
    for name in ("de.txt", "en (words)", "sw (words)"):
        assert name in said
    assert said.splitlines()[-1] == str(out)
    assert "## Fewer pieces" in (out / "README.md").read_text()
    names = Pieces(out / "tokenizer.json").names
    assert {"▁en1", "▁en2", "▁sw1", "▁sw2"} <= set(names)
    command[2] = str(tmp_path / "more")
    with caplog.at_level("INFO"):
        many = ["--languages", "sw", "--word-lists", own, "--tokens", "5000"]
        assert program.main([*command, *many]) == 0
    assert "--tokens=5000: what is asked for has only 19 pieces" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give --languages, --text or both"),
        (["--text", "no/such.txt"], "no/such.txt"),
        (["--text", "{here}/a.csv"], "a.csv: should end with .txt, one text a line, or .jsonl"),
        (["--text", "{here}/empty.txt"], "empty.txt: has no text"),
        (["--text", "{here}/bad.jsonl"], "bad.jsonl:1: the field text is missing"),
        (["--languages", "sw", "--word-lists", "{here}"], "{here}/en.txt"),
        (
            ["--text", "{here}/de.txt", "--tokens", "3"],
            "room for 3 pieces, and the texts need",
        ),
        (["--text", "{here}/de.txt", "--tokens", "-3"], "--tokens=-3: should be above 0"),
        (["--text", "{here}/de.txt", "--max-mb", "nan"], "--max-mb=nan: should be above 0"),
        (["--text", "{here}/de.txt", "--max-mb", ".001"], "without any piece the model has"),
        (["--text", "{here}/de.txt", "--coverage", ".9"], "--coverage is of --languages"),
        (["--languages", "sw", "--coverage", "2"], "--coverage=2: should be above 0 and at most"),
        (["--text", "{here}/de.txt", "--word-lists", "x"], "--word-lists is for --languages"),
        (["--text", "{here}/de.txt", "--tokens", "9", "--max-mb", "1"], "not allowed with"),
        (["--text", "{here}/all.txt"], "all 65 pieces are wanted, so nothing would go"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(world, tmp_path, capsys, arguments, says):
    (tmp_path / "de.txt").write_text("de1 de2\n")
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "bad.jsonl").write_text('{"label": "on"}\n')
    every = " ".join(f"{name}{i}" for name in tiny.LANGUAGES for i in range(20))
    (tmp_path / "all.txt").write_text(every + "\n")
    given = [part.format(here=tmp_path) for part in arguments]
    assert program.main([str(world.encoder), "--out", str(tmp_path / "out"), *given]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert says.format(here=tmp_path) in errors[0]
    assert not any("out" in path.name for path in tmp_path.iterdir())


def test_a_card_in_another_encoding_is_kept_as_far_as_it_can_be_read(world, tmp_path):
    folder = shutil.copytree(world.encoder, tmp_path / "encoder")
    (folder / "README.md").write_bytes(b"# Mod\xe8le\n")
    trim(folder, tmp_path / "out", Wanted({"de": german()}, {}))
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# Mod\ufffdle\n\n## Fewer pieces")


def test_no_bound_is_as_good_as_a_large_one(world, tmp_path):
    for most in (1e6, float("inf")):
        trim(world.encoder, tmp_path / str(most), Wanted({"de": german()}, {}, max_mb=most))
    assert len({(tmp_path / name / MAP).read_text() for name in ("1000000.0", "inf")}) == 1


def test_only_unigram_pieces_can_go(world, tmp_path):
    folder = shutil.copytree(world.encoder, tmp_path / "encoder")
    path = folder / "tokenizer.json"
    spec = json.loads(path.read_text())
    spec["model"] = {"type": "WordLevel", "vocab": {"<unk>": 3}, "unk_token": "<unk>"}
    path.write_text(json.dumps(spec))
    with pytest.raises(UserError, match="pieces are of WordLevel; only Unigram"):
        Pieces(path)
    path.write_text("{")
    with pytest.raises(UserError, match=r"tokenizer\.json: not a tokenizer"):
        Pieces(path)
    path.unlink()
    with pytest.raises(UserError, match=r"tokenizer\.json: missing"):
        Pieces(path)


def test_uneven_layers_are_trimmed_like_others(world, tmp_path):
    from alignreg_jax.compress.shrink import shrink

    shrink(empties.write(world, tmp_path / "export"), tmp_path / "small", "free")
    done = trim(tmp_path / "small", tmp_path / "out", Wanted({"de": german()}, {}))
    assert done.pieces[1] < done.pieces[0]
    small, out = (folders.read(tmp_path / name).network.config for name in ("small", "out"))
    assert out.layers == small.layers
    assert (tmp_path / "out" / "modeling_xlmr_sliced.py").exists()
