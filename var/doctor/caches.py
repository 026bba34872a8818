"""Whether the token cache holds the tokens of its images."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from var.doctor.patient import BATCH, Patient
from var.doctor.report import Finding, NothingThereError
from var.errors import UserError
from var.recipes.transformer import token_cache
from var.recipes.transformer.token_cache import TokenCache, encoded_again
from var.runs.evaluation import spread
from var.tokenizer import Tokenizer

ENCODED = 3200
"""Token sequences that are made again, all variants counted, spread over the images: one part alone may be broken."""
FAR = 0.5
"""Of the variance of latents: two images are 2 apart, two drafts of one image much less, however tokens fell."""
FEW = 0.01
"""Share of images whose tokens may come out another way on another machine."""


def look_at_cache(patient: Patient) -> Iterator[Finding]:
    """The tokens that were trained on against fresh ones of the same images, flips, crops and draws."""
    folder, tokenizer = patient.folder.path / "tokens", patient.tokenizer
    if tokenizer is None:
        raise NothingThereError("no tokenizer")
    if not patient.settings.tokens.cached or not folder.exists():
        raise NothingThereError("no tokens were kept")
    if not patient.same_data:
        raise NothingThereError("the data are not those of the training")
    settings = patient.settings
    how: Any = {"variants": settings.tokens.variants, "temperature": settings.tokens.temperature}
    how |= {"seed": settings.training.seed, "augment": settings.data.augmentation()}
    try:
        kept = TokenCache.opened(patient.images, tokenizer, folder, **how)
    except UserError as error:
        yield _broken("the token cache is damaged", str(error))
        return
    size = token_cache.BATCH
    count = max(ENCODED // (size * settings.tokens.variants), 1)
    starts = spread(-(-len(patient.data) // size), count) * size
    pieces = [range(start, min(start + size, len(patient.data))) for start in starts.tolist()]
    same, strange = [], []
    for piece, fresh in zip(pieces, encoded_again(patient.images, tokenizer, pieces, **how), strict=True):
        own = kept.parts[piece.start // kept.part][:, piece.start % kept.part :][:, : len(piece)]
        pair = own.flatten(0, 1).long(), fresh.flatten(0, 1).long()
        same.append((pair[0] == pair[1]).float())
        strange.append(_strangers(tokenizer, *pair, same[-1]))
    agreement, wrong = torch.cat(same), torch.cat(strange).float().mean().item()
    for row, where in zip(patient.measured["scales"], patient.schedule.slices(), strict=True):
        row["cache_agrees"] = agreement[:, where].mean().item()
    if wrong > FEW:
        yield _broken(
            "the token cache holds tokens that are not those of its images, and the transformer learned from it",
            f"{wrong:.0%} of {len(agreement)} token sequences lie as far from fresh ones as those of other images; "
            f"{agreement.mean():.0%} of all tokens agree",
        )


def _strangers(
    tokenizer: Tokenizer,
    own: Int64[Tensor, "n length"],
    fresh: Int64[Tensor, "n length"],
    same: Tensor,
) -> Bool[Tensor, " n"]:
    """Whose kept tokens agree with fresh ones in less than half, and stand for another latent."""
    if own.min() < 0 or own.max() >= tokenizer.config.vocabulary:
        return ((own < 0) | (own >= tokenizer.config.vocabulary)).any(1)
    latents = [torch.cat([_latent(tokenizer, part) for part in tokens.split(BATCH)]) for tokens in (own, fresh)]
    apart = (latents[0] - latents[1]).square().mean(1)
    spread_out = (latents[1] - latents[1].mean(0)).square().mean().clamp_min(1e-12)
    return (same.mean(1) < 0.5) & (apart > FAR * spread_out)


def _latent(tokenizer: Tokenizer, tokens: Int64[Tensor, "n length"]) -> Tensor:
    maps = tokenizer.scales.split(tokens.to(tokenizer.device))
    with torch.inference_mode():
        return tokenizer.accumulating().accumulate(maps)[-1].flatten(1).cpu()


def _broken(said: str, measured: str) -> Finding:
    return Finding(
        key="cache",
        severity="fault",
        said=said,
        measured=measured,
        remedy="delete the folder `tokens` of the run, and train again into a new folder",
    )
