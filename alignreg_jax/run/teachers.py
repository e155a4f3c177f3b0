"""Another checkpoint as a teacher: read and checked before anything is written."""

from collections.abc import Sequence

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints
from alignreg_jax.models.xlmr import Head, XlmrConfig
from alignreg_jax.run import digests, places
from alignreg_jax.run.cache import Cache

OWN = (None, "none", "dense")
"""What `distill.teacher` may be that is no checkpoint; None where no configuration was resolved."""


def digest(teacher: checkpoints.Loaded | None) -> digests.Digests:
    """What a run keeps of its teacher to know it again; nothing without one."""
    if teacher is None:
        return {}
    encoder = digests.of_encoder(teacher.params, teacher.config)
    return {"teacher": [encoder, digests.of_arrays(teacher.params["head"])]}


def read(
    config: ExperimentConfig,
    cache: Cache,
    *,
    student: XlmrConfig,
    tokenizer: str,
    head: Head,
    labels: Sequence[str],
) -> checkpoints.Loaded | None:
    """The checkpoint that teaches, or None where none does.

    Args:
        config: resolved.
        cache: of earlier runs of this process.
        student: the architecture that is taught.
        tokenizer: digest of its tokenizer; pieces are looked up in the teacher by the same numbers.
        head: the form of the head.
        labels: of the data.

    Raises:
        UserError: it cannot be read, lacks a head for these labels, numbers pieces differently, or
            has other hidden states than are to be compared.
    """
    name = config.distill.teacher
    if name in OWN:
        return None
    where = f"distill.teacher={name}"
    folder = cache("teacher's folder", name, lambda: places.encoder(name, "distill.teacher"))
    try:
        found = cache(
            "teacher",
            (folder, head, labels),
            lambda: checkpoints.load(folder, head=head, labels=labels, seed=0),
        )
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    if found.initialised:
        raise UserError(f"{where} has no head for the task, so it knows nothing of its labels")
    path = folder / checkpoints.TOKENIZER
    if not path.is_file() or digests.of_tokenizer(path) != tokenizer:
        raise UserError(f"{where} has another tokenizer than the encoder that it is to teach")
    architecture = found.config
    if architecture.max_length < student.max_length:
        raise UserError(
            f"{where} has positions for {architecture.max_length} pieces, the encoder for"
            f" {student.max_length}"
        )
    if config.distill.hidden:
        for what in ("num_layers", "hidden_size"):
            theirs, own = getattr(architecture, what), getattr(student, what)
            if theirs != own:
                raise UserError(
                    f"distill.hidden={config.distill.hidden}: {where} has {what}={theirs}, the"
                    f" encoder {own}; their hidden states cannot be compared"
                )
        # The step runs both through one network
        if architecture.layers != student.layers:
            raise UserError(
                f"distill.hidden={config.distill.hidden}: {where} has other attention heads or"
                " feed-forward units than the encoder; distill.hidden=0 compares logits alone"
            )
    return found
