"""Ids of special pieces: the tokenizer's and config.json's must be the same."""

import pytest
from checkpoint_folders import configure
from tokenizers import Tokenizer, models, processors

from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints, special_ids

PIECES = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4}


def write(folder, pieces=PIECES, begin=None, end=None):
    """A folder with a tokenizer whose template writes the given ids, or those of its pieces."""
    begin, end = (pieces[name] if given is None else given
                  for name, given in (("<s>", begin), ("</s>", end)))  # fmt: skip
    tokenizer = Tokenizer(models.WordLevel(pieces, unk_token="<unk>"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", begin), ("</s>", end)],
    )
    (folder / "config.json").write_text("{}")
    configure(folder, pad_token_id=1, bos_token_id=0, eos_token_id=2)
    return folder / "tokenizer.json", tokenizer


def test_ids_that_config_json_leaves_out_are_the_tokenizers(tmp_path):
    path, tokenizer = write(tmp_path, {**PIECES, "<s>": 4, "a": 0})
    assert special_ids.around(path) == {"bos_token_id": 0, "eos_token_id": 2}
    configure(tmp_path, bos_token_id=None)
    assert special_ids.around(path) == {"bos_token_id": None, "eos_token_id": 2}
    tokenizer.save(str(path))
    assert special_ids.around(path) == {"bos_token_id": 4, "eos_token_id": 2}
    configure(tmp_path, eos_token_id=3)
    assert special_ids.around(path) == {"bos_token_id": 4, "eos_token_id": 3}


def test_the_bundled_encoder():
    path = checkpoints.resolve("demo") / "tokenizer.json"
    special_ids.check(path, Tokenizer.from_file(str(path)))


@pytest.mark.parametrize(
    ("piece", "field", "number", "said"),
    [
        ("<pad>", "pad_token_id", 1, 4),
        ("<s>", "bos_token_id", 0, 2),
        ("</s>", "eos_token_id", 2, 0),
    ],
)
def test_a_difference_names_both_files_and_ids(piece, field, number, said, tmp_path):
    path, tokenizer = write(tmp_path)
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>", length=8)
    special_ids.check(path, tokenizer)
    configure(tmp_path, **{field: said})
    with pytest.raises(UserError) as caught:
        special_ids.check(path, tokenizer)
    assert str(caught.value).startswith(
        f"{path}: {piece} is piece {number}, and {field} in {tmp_path}/config.json is {said}"
    )


def test_pieces_in_another_order(tmp_path):
    path, tokenizer = write(tmp_path, {**PIECES, "<pad>": 0, "<s>": 1})
    with pytest.raises(UserError, match="<s> is piece 1, and bos_token_id"):
        special_ids.check(path, tokenizer)
    for field in ("pad_token_id", "bos_token_id", "eos_token_id"):
        configure(tmp_path, **{field: None})  # says nothing
    special_ids.check(path, tokenizer)
    (tmp_path / "config.json").write_text("{}")  # transformers then takes XLM-R's
    with pytest.raises(UserError, match=r"<s> is piece 1, and bos_token_id in .* is 0"):
        special_ids.check(path, tokenizer)


def test_ids_that_the_template_writes(tmp_path):
    """They need not be those of the pieces."""
    path, tokenizer = write(tmp_path, end=4)
    with pytest.raises(UserError, match="</s> is piece 4, and eos_token_id"):
        special_ids.check(path, tokenizer)
