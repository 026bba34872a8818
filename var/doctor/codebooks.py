"""Whether the codes are in use."""

import math
from collections.abc import Iterator

from var.doctor.patient import Patient
from var.doctor.report import Finding, NothingThereError
from var.errors import UserError
from var.recipes.vqvae.codebook_health import SMALLEST_SHARE, code_use, count_codes, remedy_for
from var.vqvae import VQVAE

COLLAPSED = 0.1
"""Share of the codes in use below which a codebook has collapsed; after 40 steps without k-means it was .2."""
EMPTY = 0.45
"""Share of a token's bits that must be carried, log perplexity over log vocabulary; poor but useful ones have .54."""


def look_at_codebook(patient: Patient) -> Iterator[Finding]:
    """Share and perplexity of the codes in the tokens of training images, at every scale and over all."""
    try:
        sample, tokenizer = patient.trained_on, patient.tokenizer
    except UserError as error:  # it cannot be loaded, or computes no numbers, which is said of the tokenizer
        raise NothingThereError("the tokenizer cannot be used") from error
    if sample is None or tokenizer is None:
        raise NothingThereError("no tokenizer")
    vocabulary = tokenizer.config.vocabulary
    counts = count_codes(patient.schedule.split(sample.tokens), vocabulary)
    for row, used, perplexity in zip(patient.measured["scales"], *map(list, code_use(counts)), strict=True):
        row |= {"codes_used": used.item(), "perplexity": perplexity.item()}
    used, perplexity = (float(value) for value in code_use(counts.sum(0)))
    possible = min(vocabulary, sample.tokens.numel())  # few images cannot use many codes
    share, bits = used * vocabulary / possible, math.log(perplexity) / math.log(possible)
    patient.measured["codebook"] = {"codes_used": used, "perplexity": perplexity}
    if share >= SMALLEST_SHARE and bits >= EMPTY:
        return
    collapsed = share < COLLAPSED or bits < EMPTY
    waits = patient.kind == "vqvae" and patient.steps <= patient.settings.losses.quantize_from
    yield Finding(
        key="codebook",
        severity="fault" if collapsed and not waits else "remark",
        said="the codebook has not been trained yet"
        if waits
        else "the codebook has collapsed: tokens say next to nothing of an image"
        if collapsed
        else "much of the codebook is unused",
        measured=f"{used * vocabulary:.0f} of {vocabulary} codes in {sample.tokens.numel():,} tokens, perplexity "
        f"{perplexity:.1f}",
        remedy=_remedy(patient, waits),
    )


def _remedy(patient: Patient, waits: bool) -> str:
    if waits:
        return f"train beyond losses.quantize_from={patient.settings.losses.quantize_from} steps"
    assert patient.tokenizer is not None
    tokenizer = patient.tokenizer
    remedy = remedy_for(tokenizer.config) if isinstance(tokenizer, VQVAE) else "train a tokenizer that uses its codes"
    return remedy if patient.kind == "vqvae" else f"train the tokenizer anew ({remedy}), then the transformer"
