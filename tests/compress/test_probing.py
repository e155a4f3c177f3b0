"""A run's models of every step, and what `alignreg probe` sees in them."""

import json
import shutil
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import tiny
from tokenizers import Tokenizer

import alignreg_jax
from alignreg_jax import probe
from alignreg_jax.compress import folders, probing
from alignreg_jax.errors import UserError
from alignreg_jax.evaluation import alignment
from alignreg_jax.models import checkpoints, xlmr
from alignreg_jax.pruning import kernels
from alignreg_jax.reporting import figures

FLAGS = ("--config.export=steps", "--config.eval.save_predictions", "--config.method=l2-mbp")
SOME = 4  # rows that are looked at one by one, which takes a second each


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    world = tiny.build(tmp_path_factory.mktemp("steps") / "world")
    folder = tmp_path_factory.mktemp("probed") / "run"
    alignreg_jax.run(tiny.configured(world, *FLAGS), folder)
    return world, folder


def texts(world):
    return [str(world.data / f"{language}.test.jsonl") for language in tiny.LANGUAGES]


def test_every_step_leaves_the_model_that_was_evaluated(done):
    world, folder = done
    assert sorted(path.name for path in (folder / "steps").iterdir()) == ["0", "1"]
    evals = [event for event in tiny.events(folder) if event["kind"] == "eval"]
    for event, place in zip(evals, ("steps/0", "steps/1", "export"), strict=True):
        loaded = folders.read(folder / place)
        matrices, _ = kernels.split(loaded.network.params)
        nonzero = sum(np.count_nonzero(each) for each in matrices.values())
        assert nonzero / sum(each.size for each in matrices.values()) == event["nonzero"]
        said = (folder / f"predictions/{event['phase']}/sw.test.txt").read_text().split()
        assert _answers(world, folder / place, loaded) == said[:SOME]
        card = (folder / place / "README.md").read_text()
        assert ("# folder, dense, 100 %" in card) == (place == "steps/0")
        assert ("- l2-mbp\n" in card) == ("- sparse\n" in card) == (place != "steps/0")


def _answers(world, folder, loaded):
    """One row at a time, without padding."""
    params, config, head, _ = loaded.network
    model = xlmr.XlmrModel(config, head, len(loaded.labels))
    found = []
    for ids in _pieces(world, folder, "sw"):
        logits = xlmr.logits(model, params, jnp.array([ids]), jnp.array([len(ids)]))
        found.append(loaded.labels[int(jnp.argmax(logits[0]))])
    return found


def _pieces(world, folder, language):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    lines = (world.data / f"{language}.test.jsonl").read_text().splitlines()
    return [tokenizer.encode(json.loads(line)["text"]).ids for line in lines[:SOME]]


def test_vectors_are_means_over_the_pieces_of_one_text_at_a_time(done):
    world, folder = done
    place = folder / "export"
    found = probing.vectors(place, probing.read(texts(world), 200, "en"), lambda count: None)
    params, config, head, _ = folders.read(place).network
    model = xlmr.XlmrModel(config, head, 3)
    for row, ids in enumerate(_pieces(world, place, "de")):
        states = xlmr.hidden_states(model, params, jnp.array([ids]), jnp.array([len(ids)]))
        expected = np.asarray(states)[:, 0].mean(axis=1)
        np.testing.assert_allclose(found["de"][:, row], expected, atol=2e-5)


def test_the_command_writes_every_measure_of_every_layer(done, tmp_path, capsys):
    world, folder = done
    out = tmp_path / "out"
    assert probe.main([str(folder), "--text", *texts(world), "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[1:4]] == ["run/steps/0", "run/steps/1", "run/export"]
    assert said[-1] == str(out)
    table = pd.read_csv(out / "probe.csv")
    # Per model and layer: three languages with the first model, two with English by three measures
    assert len(table) == 3 * (tiny.LAYERS + 1) * (3 + 2 * 3)
    found = table.set_index(["model", "language", "layer", "measure"]).value
    own = found.xs(probing.FIRST, level="measure").unstack("model")
    np.testing.assert_allclose(own["run/steps/0"], 1)
    assert (own["run/export"].drop(0, level="layer") < 1).all()
    states = probing.vectors(folder / "export", probing.read(texts(world), 200, "en"), int)
    expected = alignment.retrieval(states["sw"][2], states["en"][2])
    assert found["run/export", "sw", 2, probing.FOUND] == expected
    assert (out / "probe.png").read_bytes()[:4] == b"\x89PNG"
    again = alignreg_jax.probe(folder, texts(world), tmp_path / "again", rows=100)
    pd.testing.assert_frame_equal(again, table)


def test_models_of_other_depths_meet_at_the_last_layer(done, tmp_path):
    world, _ = done
    short = tmp_path / "short"
    loaded = checkpoints.load(world.encoder, head="linear", labels=("a", "b"), seed=0)
    tree = dict(loaded.params)
    one = _first_layer(tree["encoder"])
    config = replace(loaded.config, num_layers=1)
    checkpoints.save(
        short, {**tree, "encoder": one}, config, head="linear", labels=("a", "b"),
        source=world.encoder,
    )  # fmt: skip
    found = probing.table(
        probing.models([str(world.encoder), str(short)]), probing.read(texts(world), 12, "en"), "en"
    )
    of_short = found[(found.model == "short") & (found.measure == probing.FIRST)]
    assert set(of_short.layer) == {1}
    assert set(found[found.model == "encoder"].layer) == {0, 1, 2}


def _first_layer(tree):
    return {
        name: _first_layer(leaf) if isinstance(leaf, dict) else leaf[:1]
        for name, leaf in tree.items()
    }


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--rows", "9"], "--rows=9: should be at least 10"),
        (["--pivot", "fr"], "a file of fr"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(done, tmp_path, capsys, flags, says):
    world, folder = done
    out = tmp_path / "out"
    assert probe.main([str(folder), "--text", *texts(world), "--out", str(out), *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not out.exists()


def test_a_run_without_models_says_what_makes_them(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text("{}")
    with pytest.raises(UserError, match=r"run: has no model yet.*--config\.export=steps"):
        probing.models([str(tmp_path / "run")])
    seed = tmp_path / "several" / "s3"
    seed.mkdir(parents=True)
    (seed / "metrics.jsonl").touch()
    with pytest.raises(UserError, match=r"has a run for each seed; give .*several/s3"):
        probing.models([str(tmp_path / "several")])


def test_models_have_names_of_their_own_and_are_all_there(done, tmp_path):
    world, folder = done
    with pytest.raises(UserError, match="is given twice"):
        probing.models([str(folder), str(folder)])
    found = probing.models([str(folder), str(world.encoder)])
    assert [model.name for model in found][-2:] == ["run/export", "encoder"]
    other = tmp_path / "run"
    shutil.copytree(folder / "steps", other / "steps")
    names = [model.name for model in probing.models([str(folder), str(other)])]
    assert names[-1] == f"{other}/steps/1"
    assert len(set(names)) == 5
    shutil.rmtree(other / "steps" / "0")
    with pytest.raises(UserError, match=r"steps/0 is not there"):
        probing.models([str(other)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"config\.json"):  # before the first one takes its time
        probing.models([str(folder), str(tmp_path / "empty")])


def test_vectors_that_are_all_the_same_are_drawn_too_and_no_mean_leaves_them_out():
    collapsed = [("m", "de", layer, "CKA with en", float("nan")) for layer in (0, 1)]
    whole = [("m", "sw", layer, name, 1.0) for layer in (0, 1)
             for name in ("CKA with en", probing.CORRECTED)]  # fmt: skip
    names = pd.Index(["model", "language", "layer", "measure", "value"])
    assert figures.layers(pd.DataFrame(collapsed, columns=names)).axes
    _, line = probing.lines_of(pd.DataFrame(collapsed + whole, columns=names))
    assert line.split() == ["m", "nan", "1.000", "sw", "1.000"]


def test_texts_that_do_not_fit_are_told(done, tmp_path, caplog):
    _, folder = done
    for language in ("en", "de"):
        text = f"{' '.join([f'{language}1'] * 60)}\n"
        (tmp_path / f"{language}.txt").write_text(text * 10)
    files = [str(tmp_path / f"{language}.txt") for language in ("en", "de")]
    probing.vectors(folder / "export", probing.read(files, 200, "en"), int)
    assert "pieces: up to 20 rows are cut there" in caplog.text


def test_too_few_rows_say_how_many_are_needed(tmp_path):
    for language in ("en", "de"):
        (tmp_path / f"{language}.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match="2 rows say the same; 10 are needed"):
        probing.read([str(tmp_path / "en.txt"), str(tmp_path / "de.txt")], 200, "en")
