"""The model card (README.md) of an exported model."""

import re
from collections.abc import Sequence

from huggingface_hub import EvalResult, ModelCardData

from alignreg_jax.reporting.metric_names import first_word, hub_metric, metric_name
from alignreg_jax.reporting.results import Results
from alignreg_jax.reporting.run_tables import languages_table, other_metrics_table, steps_table
from alignreg_jax.reporting.series import curves
from alignreg_jax.reporting.tables import markdown_table, percent

CITATION = "Aligned Weight Regularizers for Pruning Pretrained Neural Networks"

_LOAD = {
    "dense-tanh-out": """\
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = "."  # this folder
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
inputs = tokenizer({example}, truncation=True, max_length={max_length}, return_tensors="pt")
with torch.no_grad():
    logits = model(**inputs).logits
print(model.config.id2label[logits.argmax(-1).item()])
""",
    "linear": """\
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

folder = "."  # this folder
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModel.from_pretrained(folder, dtype=torch.float32, add_pooling_layer=False).eval()
head = load_file(f"{{folder}}/head.safetensors")  # one linear layer on the first token
inputs = tokenizer({example}, truncation=True, max_length={max_length}, return_tensors="pt")
with torch.no_grad():
    first = model(**inputs).last_hidden_state[:, 0]
logits = first @ head["classifier.weight"].T + head["classifier.bias"]
print(model.config.id2label[logits.argmax(-1).item()])
""",
    "label-words": """\
import torch
from safetensors.torch import load_file
from torch.nn.functional import gelu, layer_norm, linear
from transformers import AutoModel, AutoTokenizer

folder = "."  # this folder
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModel.from_pretrained(folder, dtype=torch.float32, add_pooling_layer=False).eval()
head = load_file(f"{{folder}}/head.safetensors")  # the language model's, on a word for each label


def parameters(name):
    return head[f"{{name}}.weight"], head[f"{{name}}.bias"]


inputs = tokenizer({example}, truncation=True, max_length={max_length}, return_tensors="pt")
with torch.no_grad():
    first = model(**inputs).last_hidden_state[:, 0]
first = gelu(linear(first, *parameters("lm_head.dense")))
norm = parameters("lm_head.layer_norm")
first = layer_norm(first, first.shape[-1:], *norm, eps=model.config.layer_norm_eps)
logits = linear(first, *parameters("label_words"))
print(model.config.id2label[logits.argmax(-1).item()])
""",
    "token": """\
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

folder = "."  # this folder
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForTokenClassification.from_pretrained(folder, dtype=torch.float32).eval()
words = {example}
options = dict(is_split_into_words=True, truncation=True, max_length={max_length})
inputs = tokenizer(words, **options, return_tensors="pt")
with torch.no_grad():
    logits = model(**inputs).logits[0]
tags = {{}}
for piece, word in enumerate(inputs.word_ids()):
    if word is not None and word not in tags:  # a word's first piece carries its tag
        tags[word] = model.config.id2label[logits[piece].argmax().item()]
print([(word, tags.get(place, "O")) for place, word in enumerate(words)])
""",
}
SIZES_SECTION = """\
## A smaller one

Nothing is pruned here: `sizes.npz` says of every attention head and feed-forward unit from which
size on it is present, and `sizes.json` what each size above weighs and scores. With alignreg_jax,

```sh
alignreg shrink . smaller --size 0.5 --form free
```

writes the model of that size, without more training; `--parameters`, `--macs`, `--max-mb` and
`--latency-ms` find the size for a budget.
"""
_ANSWERS = {"token": "It gives every word one of {count} tags."}


def model_card(
    results: Results,
    *,
    labels: Sequence[str],
    base_model: str | None,
    head: str,
    max_length: int,
    command: str,
    licence: str | None = None,
    pair: bool = False,
    notes: Sequence[str] = (),
    stock: bool = True,
) -> str:
    """The text of README.md, with the metadata that the Hub reads on top.

    `base_model` is a Hub id, or None for a checkpoint that only its owner has; `licence` is the
    base model's, as an SPDX-like id of the Hub; `pair` says that the task reads two texts; `notes`
    are sentences on how it was trained; `stock` says that unmodified transformers loads it.
    """
    last, any_size = results["prune_steps"][-1], serves_sizes(results)
    example = '"first text", "second text"' if pair else '"a text in any of the languages"'
    if head == "token":
        example = '["words", "of", "one", "sentence"]'
    answers = _ANSWERS.get(head, "It answers with one of {count} labels.")
    others = other_metrics_table(results)
    load = _LOAD[head].format(example=example, max_length=max_length)
    load = load if stock else trusting(load)
    left = f"{percent(last['remaining'], 0)} % of the weights"
    left = f"any size from {left} on" if any_size else left
    name = f"{results['task']}, {results['method']}, {left}"
    origin = f"[{base_model}](https://huggingface.co/{base_model})" if base_model else "XLM-R"
    parts = [
        _metadata(results, base_model, licence, head, name),
        f"# {name}\n",
        f"A cross-lingual encoder ({origin}) fine-tuned for **{results['task']}** with English"
        f" labels only{_how_pruned(results)} {answers.format(count=len(labels))}\n",
        *(f"{note}\n" for note in notes if note),
        "## Scores\n",
        f"{first_word(metric_name(results['metric']))} on the {results['split']} sets, in percent."
        " Only English has labels; every other language is zero-shot.\n",
        markdown_table(languages_table(results)),
        markdown_table(steps_table(results)),
        f"{steps_table(results).note}\n",
        *([markdown_table(others)] if others else []),
        *([SIZES_SECTION] if any_size else _sparsity(last)),
        "## Load it\n",
        f"```python\n{load}```\n",
        "Stay in float32, as above: transformers may otherwise choose another type.\n",
        "## Make it again\n",
        f"```sh\n{command}\n```\n",
        f"Made with alignreg_jax, after *{CITATION}* (O’ Neill, Dutta and Assem).\n",
    ]
    return "\n".join(parts)


def serves_sizes(results: Results) -> bool:
    """Whether a run trained one model for every size."""
    return "size" in results["prune_steps"][-1]


def _sparsity(last: Results) -> list[str]:
    """What there is to say of a pruned model, by its last step."""
    return [
        "## How sparse it is\n",
        f"- Encoder weights that pruning left: {percent(last['remaining'])} % (of the attention and"
        " feed-forward matrices; embeddings, normalisation, biases and classifier are not pruned)\n"
        f"- Encoder weights that are not zero: {percent(last['nonzero'])} %\n"
        f"- Weights of the whole model that are left: {percent(last['remaining_total'])} %\n",
        "The file is dense: a pruned weight is stored as a zero. By itself that makes the model"
        " neither smaller nor faster; it takes a runtime or a compression that uses the zeros.\n",
    ]


def trusting(text: str) -> str:
    """A card whose code lets transformers run that of the folder, which the free form needs."""
    return text.replace("from_pretrained(folder", "from_pretrained(folder, trust_remote_code=True")


def _how_pruned(results: Results) -> str:
    steps = len(results["prune_steps"]) - 1
    if steps == 0:
        return ", not pruned."
    last = results["prune_steps"][-1]
    if serves_sizes(results):
        return (
            f", then trained at all sizes at once (method **{results['method']}**), down to"
            f" {percent(last['remaining'])} % of the encoder’s weights (seed {results['seed']})."
            " This is the whole model; the smaller ones are in it."
        )
    return (
        f", then pruned with **{results['method']}** in {steps} step{'s' if steps > 1 else ''},"
        f" each followed by training, to {percent(last['remaining'])} % of the encoder’s weights"
        f" (seed {results['seed']})."
    )


def _metadata(
    results: Results, base_model: str | None, licence: str | None, head: str, name: str
) -> str:
    """The YAML block: what the Hub filters by, and the score of every language as its result."""
    last, kind = results["prune_steps"][-1], "token" if head == "token" else "text"
    languages = [curve.language for curve in curves(results)]
    found = [
        EvalResult(
            task_type=f"{kind}-classification",
            dataset_type=results["task"],
            dataset_name=results["task"],
            dataset_config=language,
            dataset_split=results["split"],
            metric_type=hub_metric(results["metric"]),
            metric_name=metric_name(results["metric"]),
            metric_value=round(last["languages"][language], 4),
        )
        for language in languages
        if language in last["languages"]
    ]
    data = ModelCardData(
        license=licence,
        language=sorted({re.split("[-_]", language)[0] for language in languages}),
        base_model=base_model,
        library_name="transformers",
        pipeline_tag=f"{kind}-classification",
        metrics=[hub_metric(results["metric"])],
        tags=["alignreg", "pruning", "sparse", "cross-lingual", results["method"]],
        model_name=name,
        eval_results=found,
    )
    return f"---\n{data.to_yaml(line_break=chr(10))}\n---\n"
