"""What metrics are called in titles, captions and sentences."""

_NAMES = {
    "accuracy": "accuracy",
    "word_accuracy": "accuracy of words",
    "f1": "F1",
    "pos_xglue": "accuracy of chunks (XGLUE’s POS)",
    "ndcg": "nDCG",
    "mcc": "Matthews correlation",
}
# The Hub's own names, where it has one
_HUB = {"word_accuracy": "accuracy", "pos_xglue": "precision", "mcc": "matthews_correlation"}


def metric_name(metric: str) -> str:
    """A metric inside a sentence."""
    return _NAMES.get(metric, metric)


def first_word(text: str) -> str:
    """The text with a capital at its start, for a sentence or a heading; nDCG stays as it is."""
    return text if text[1:2].isupper() else text[:1].upper() + text[1:]


def hub_metric(metric: str) -> str:
    """A metric in the metadata of a model card."""
    return _HUB.get(metric, metric)
