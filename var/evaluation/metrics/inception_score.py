"""The Inception score of class probabilities, and the two factors that it is made of."""

import numpy as np
from jaxtyping import Float64

from var import checks
from var.errors import UserError
from var.evaluation.features.extraction import Array, logit_rows

_CHUNK = 8192  # rows whose probabilities exist at once


def inception_score(logits: Array, splits: int = 10, seed: int | None = 0) -> tuple[float, float]:
    """Mean and deviation over splits of exp(E KL(p(y|x) || p(y))) (Salimans et al. 2016, arXiv 1606.03498).

    `logits` is (n, classes); -inf is a probability of zero. Split i of s holds the rows from i n // s to (i + 1) n //
    s, after a permutation by `numpy.random.RandomState(seed)`, or in the given order for `seed=None` (of samples that
    are sorted by class this shrinks the score). The deviation is the population's. Raises `UserError` for NaN or +Inf,
    or not 1 <= splits <= n.
    """
    splits = checks.argument("splits", splits, int)
    seed = _seed(seed)
    rows = logit_rows(logits, name="logits", minimum=1)
    n = len(rows)
    if not 1 <= splits <= n:
        raise UserError(f"splits must be from 1 to the number of samples, {n}, got {splits}; change it")
    if seed is not None:
        random = np.random.RandomState(seed)  # what published numbers were drawn with
        rows = rows[random.permutation(n)]
    scores = []
    for i in range(splits):
        conditional, marginal = _entropies(rows[i * n // splits : (i + 1) * n // splits])
        scores.append(np.exp(marginal - conditional))
    return float(np.mean(scores)), float(np.std(scores))


def sequential_inception_score(logits: Array, split_size: int = 5000) -> float:
    """The Inception score as ADM's evaluator computes it: mean over runs of `split_size` rows in the given order.

    A last, shorter run counts like the others. Only for comparison with numbers that were made this way, of shuffled
    samples: of samples that are sorted by class a run holds few classes, and the score shrinks to a fraction. Raises
    `UserError` for NaN or +Inf, no rows, or a split size below 1.
    """
    split_size = checks.argument("split_size", split_size, int)
    rows = logit_rows(logits, name="logits", minimum=1)
    if split_size < 1:
        raise UserError(f"split_size must be at least 1, got {split_size}; ADM's is 5000")
    parts = [_entropies(rows[start : start + split_size]) for start in range(0, len(rows), split_size)]
    return float(np.mean([np.exp(marginal - conditional) for conditional, marginal in parts]))


def sharpness_and_diversity(logits: Array) -> tuple[float, float]:
    """exp(-mean H(y|x)), in [1/classes, 1], and exp(H(mean p)), in [1, classes]: the Inception score is their product.

    A sharp set has confident predictions, a diverse one uses all classes. The product equals `inception_score` with
    one split.
    """
    conditional, marginal = _entropies(logit_rows(logits, name="logits", minimum=1))
    return float(np.exp(-conditional)), float(np.exp(marginal))


def _seed(seed: int | None) -> int | None:
    seed = checks.argument("seed", seed, int | None)
    if seed is not None and not 0 <= seed < 2**32:
        raise UserError(f"seed must lie in [0, 2^32), got {seed}; correct it")
    return seed


def _entropies(logits: Float64[np.ndarray, "n classes"]) -> tuple[float, float]:
    """Mean entropy of the predictions, and entropy of the mean prediction, in nats."""
    total = np.zeros(logits.shape[1])
    entropy = 0.0
    for start in range(0, len(logits), _CHUNK):
        rows = logits[start : start + _CHUNK]
        shifted = rows - rows.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        p = np.exp(log_p)
        # p log p -> 0 for p -> 0; log p itself may be -inf there.
        entropy -= float((p * np.where(p > 0, log_p, 0.0)).sum())
        total += p.sum(axis=0)
    mean = total / len(logits)
    return entropy / len(logits), -float((mean * np.log(np.where(mean > 0, mean, 1.0))).sum())
