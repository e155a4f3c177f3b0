"""How alike two languages, or two models, are inside: CKA, and retrieval of translations.

Rows are sentences, row i of one language the translation of row i of the other. Vectors of a
multilingual encoder share a few large directions, so that any two are alike by their cosine; and
each language has a place of its own. Both hide which sentence is meant: see `standardized`.
"""

import numpy as np
from jaxtyping import Float

Vectors = Float[np.ndarray, "rows hidden"]

LEAST_ROWS = 10
"""With fewer, chance alone retrieves one in ten."""


def cka(one: Float[np.ndarray, "rows one"], other: Float[np.ndarray, "rows other"]) -> float:
    """Linear centred kernel alignment without the bias of few rows: 1 alike, about 0 unrelated.

    Kornblith et al. 2019 with the unbiased HSIC of Song et al. 2012: with fewer rows than
    dimensions the plain form is near 1 whatever the vectors are. It can be slightly below 0. NaN
    where one side is the same for all rows.

    Args:
        one: vectors of at least four rows.
        other: of the same rows.

    Raises:
        ValueError: fewer rows.
    """
    if len(one) < 4:
        raise ValueError(f"{len(one)} rows; should be at least 4")
    left, right = _gram(one), _gram(other)
    own = _hsic(left, left) * _hsic(right, right)
    return float(_hsic(left, right) / np.sqrt(own)) if own > 0 else float("nan")


def _gram(vectors: Vectors) -> Float[np.ndarray, "rows rows"]:
    # HSIC does not see what all rows have in common; without it the sums keep their digits
    centred = np.asarray(vectors, np.float64)
    centred = centred - centred.mean(axis=0)
    products = centred @ centred.T
    np.fill_diagonal(products, 0)
    return products


def _hsic(left: Float[np.ndarray, "n n"], right: Float[np.ndarray, "n n"]) -> float:
    """Song et al. 2012, eq. 5, times n (n - 3), of Gram matrices with zeros on the diagonal."""
    n = len(left)
    sums = left.sum(axis=0), right.sum(axis=0)
    whole = sums[0].sum() * sums[1].sum() / ((n - 1) * (n - 2))
    return float((left * right).sum() + whole - 2 / (n - 2) * (sums[0] @ sums[1]))


def retrieval(one: Vectors, other: Vectors) -> float:
    """Share of rows whose nearest row of the other language, by cosine, is their translation.

    The mean of both directions. Of rows that are equally near one is drawn, in expectation: vectors
    that are all the same find one in so many, as chance does.
    """
    near, found = _unit(one) @ _unit(other).T, []
    for axis in (0, 1):
        nearest = near >= near.max(axis=axis, keepdims=True) - 1e-12  # equal but for the last bits
        found.append(np.mean(np.diagonal(nearest) / nearest.sum(axis=axis)))
    return float(np.mean(found))


def _unit(vectors: Vectors) -> Vectors:
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)


def standardized(vectors: Vectors) -> Vectors:
    """Every dimension with mean 0 and deviation 1 over the rows of a language.

    The correction of Timkey and van Schijndel 2021 for the few dimensions that rule a cosine; per
    language it also takes away where the language lies. A dimension that is constant becomes 0.
    """
    vectors = np.asarray(vectors, np.float64)
    spread = vectors.std(axis=0)
    return (vectors - vectors.mean(axis=0)) / np.where(spread > 0, spread, 1)
