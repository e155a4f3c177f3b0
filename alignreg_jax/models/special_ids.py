"""The special pieces of a tokenizer against the ids that config.json has for them."""

from pathlib import Path

from tokenizers import Tokenizer

from alignreg_jax.errors import UserError
from alignreg_jax.models.architecture import BERT, CONFIG, read_json

# config.json's field, the id that transformers takes without it, and the piece
_BEGIN, _END = ("bos_token_id", 0, "<s>"), ("eos_token_id", 2, "</s>")
_FIELDS = (_BEGIN, ("pad_token_id", 1, "<pad>"), _END)


def around(path: Path) -> dict[str, int | None]:
    """The ids of <s> and </s>, which are put around a text, by config.json's fields for them.

    transformers 5 writes null for both into a BERT's config.json; then they are the tokenizer's.

    Args:
        path: of tokenizer.json; config.json is beside it.

    Returns:
        An id for each field; None if neither file has one.
    """
    raw = read_json(path.with_name(CONFIG))
    found = {field: raw.get(field, default) for field, default, _ in (_BEGIN, _END)}
    if None in found.values() and path.exists():
        tokenizer = Tokenizer.from_file(str(path))
        for field, _, piece in (_BEGIN, _END):
            if found[field] is None:
                found[field] = tokenizer.token_to_id(piece)
    return found


def check(path: Path, tokenizer: Tokenizer) -> None:
    """Raise UserError if tokenizer and config.json number the special pieces differently.

    The model reads padding and positions by config.json's numbers, the texts come with those of the
    tokenizer: with others it would be another model than the one that was pretrained.

    Args:
        path: of tokenizer.json; config.json is beside it.
        tokenizer: read from there.
    """
    config = path.with_name(CONFIG)
    raw = read_json(config)
    if raw.get("model_type") == BERT:  # nothing is read by its numbers, which are another's
        raw = {}
    tokenizer.no_padding()  # which a file may have switched on
    written = tokenizer.encode("").ids  # what the template puts around a text
    around = {"<s>": written[:1], "</s>": written[-1:]}
    for field, default, piece in _FIELDS:
        said = raw.get(field, default)
        found = [tokenizer.token_to_id(piece), *around.get(piece, ())]
        for number in found:
            if None not in (said, number) and said != number:
                raise UserError(
                    f"{path}: {piece} is piece {number}, and {field} in {config} is {said}; they "
                    "are not of one checkpoint"
                )
