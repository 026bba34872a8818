"""Whether the tokenizer is the one whose tokens the transformer learned, and knows these images."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from var.data.loading import load_images
from var.doctor.patient import BATCH, Patient
from var.doctor.report import Finding, NothingThereError
from var.errors import UserError
from var.foreign.documents import read_json
from var.recipes.transformer.token_cache_files import MANIFEST, tokenizer_digest
from var.sampling.finite import check_finite
from var.tokenizer import Tokenizer

KNOWN = 0.5
"""Share of the images' variance that a tokenizer should give back; one that gives the mean image back has 0."""


def look_at_tokenizer(patient: Patient) -> Iterator[Finding]:
    """Its digest against that of the training, and its reconstructions against the images."""
    try:
        tokenizer = patient.tokenizer
    except UserError as error:
        yield replace(
            _wrong("the tokenizer cannot be loaded", str(error)),
            remedy="restore its folder, or train again",
        )
        return
    if tokenizer is None:
        yield Finding(
            key="unfinished",
            severity="remark",
            said="no tokenizer is in the folder: tokens, codes and losses cannot be looked at",
            measured=f"no {patient.folder.path / 'vqvae'}" if patient.kind == "transformer" else "none was saved yet",
            remedy="finish the run" + (", or name the tokenizer by --vqvae" if patient.kind == "transformer" else ""),
        )
        raise NothingThereError("none is there")
    found = tokenizer_digest(tokenizer)
    for name, told in (("the run", patient.facts.get("tokenizer")), ("its token cache", _of_cache(patient))):
        if told not in (None, found):
            yield _wrong(
                "the tokenizer is another one than the transformer was trained with: its codes mean other things",
                f"{name} is of the tokenizer {told:.8}, found {found[:8]}",
            )
            return
    if broken := _computes_no_numbers(patient, tokenizer):
        yield replace(broken, remedy="train it again, with a lower training.learning_rate")
        return
    yield from _reconstructions(patient)


def _of_cache(patient: Patient) -> str | None:
    """The digest of the tokenizer whose tokens the cache holds, if there is one that tells it."""
    try:
        told = read_json(patient.folder.path / "tokens" / MANIFEST).get("tokenizer")
    except UserError:
        return None
    return told if isinstance(told, str) else None


def _computes_no_numbers(patient: Patient, tokenizer: Tokenizer) -> Finding | None:
    """What is said of a tokenizer whose latents or images are not finite, as those of one image tell."""
    image = load_images(patient.data, torch.zeros(1, dtype=torch.long)).to(patient.device)
    try:
        with torch.inference_mode():
            check_finite(tokenizer.decode(tokenizer.encode(image)), "decoding needs finite images", "train it again")
    except UserError as error:
        return _wrong("the tokenizer computes no numbers", str(error))
    return None


def _reconstructions(patient: Patient) -> Iterator[Finding]:
    for name, sample in (("training", patient.trained_on), ("held_out", patient.unseen)):
        if sample is None:
            continue
        assert patient.tokenizer is not None
        parts = patient.schedule.split(sample.tokens)
        with torch.inference_mode():
            rows = [[part[start : start + BATCH] for part in parts] for start in range(0, len(sample.tokens), BATCH)]
            again = torch.cat([patient.tokenizer.decode([m.to(patient.device) for m in maps]).cpu() for maps in rows])
        error = (again - sample.images).square().mean()
        varied = (sample.images - sample.images.mean(0)).square().mean().clamp_min(1e-12)
        patient.measured[f"known_of_{name}_images"] = known = 1 - (error / varied).item()
        if known >= KNOWN:
            continue
        # Who tries a few steps may do so on an untrained tokenizer; a decoder began with a trained one.
        tried = patient.steps * patient.settings.training.batch_size < len(patient.data)
        useless = known < 0 and (patient.kind == "decoder" or (patient.kind == "transformer" and not tried))
        yield Finding(
            key="tokenizer",
            severity="fault" if useless else "remark",
            said="the tokenizer gives images back " + ("worse than the mean image does" if known < 0 else "coarsely"),
            measured=f"{known:.0%} of the variance of {name.replace('_', '-')} images",
            remedy="lower training.learning_rate, and train it from the same --init again"
            if patient.kind == "decoder"
            else "use a tokenizer that was trained on these images, or train it longer",
        )
        return


def _wrong(said: str, measured: str) -> Finding:
    return Finding(
        key="tokenizer",
        severity="fault",
        said=said,
        measured=measured,
        remedy="put back the tokenizer that --vqvae named when it was trained, or train the transformer on this one",
    )
