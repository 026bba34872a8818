"""The examination: a table of what is looked at, in an order in which the first fault explains the later ones."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from var import checks
from var.data.base import ImageData
from var.doctor.caches import look_at_cache
from var.doctor.codebooks import look_at_codebook
from var.doctor.curve import look_at_curve
from var.doctor.given_scales import check_given_scales, look_at_given_scales
from var.doctor.labels import look_at_labels
from var.doctor.learning import look_at_learning
from var.doctor.likelihood import look_at_likelihood
from var.doctor.patient import Patient, open_patient
from var.doctor.report import Finding, NothingThereError, Report
from var.doctor.schedules import look_at_schedule
from var.doctor.tokenizers import look_at_tokenizer
from var.errors import UserError

OVERFIT_STEPS = 100


@dataclass(frozen=True, slots=True)
class Look:
    """One subject; it says nothing after a fault of one of those that it `needs` to be right."""

    at: Callable[[Patient], Iterator[Finding]]
    kinds: tuple[str, ...] = ("vqvae", "transformer", "decoder")
    needs: tuple[str, ...] = ()


LOOKS = {
    "schedule": Look(look_at_schedule),
    "tokenizer": Look(look_at_tokenizer, needs=("schedule",)),
    "cache": Look(look_at_cache, ("transformer",), ("schedule", "tokenizer")),
    "codebook": Look(look_at_codebook, needs=("schedule",)),
    "labels": Look(look_at_labels, ("transformer",), ("schedule", "tokenizer", "cache")),
    "likelihood": Look(look_at_likelihood, ("transformer", "decoder"), ("schedule", "tokenizer", "cache")),
    "curve": Look(look_at_curve),
    "learning": Look(look_at_learning, ("vqvae", "transformer"), ("schedule", "tokenizer")),
}
"""What is looked at."""
GIVEN_SCALES = {"given scales": Look(look_at_given_scales, ("transformer",), ("schedule", "tokenizer", "weights"))}
"""What is looked at where it is asked for, since it draws thousands of images."""


def examine(
    run: Path | str,
    *,
    data: ImageData | Path | str | None = None,
    vqvae: Path | str | None = None,
    overfit_steps: int = OVERFIT_STEPS,
    given_scales: bool = False,
    device: str | None = None,
    progress: bool = True,
) -> Report:
    """Look at the run of `var train vqvae`, `transformer` or `decoder` in the folder `run`, which stays as it is.

    `data` and `vqvae` stand in for those of the run, where these are elsewhere now, or were given in Python. The copies
    that learn ten images take `overfit_steps`; 0 does without. With `given_scales` it is measured what each map costs:
    the distance of images whose first k maps are true and whose others are drawn, for each k. Raises `UserError` for
    what is no such run, has no log, or whose data cannot be opened.
    """
    checks.argument("run", str(run) if isinstance(run, Path) else run, str)
    if checks.argument("overfit_steps", overfit_steps, int) < 0:
        raise UserError(f"overfit_steps must be 0 (none) or more, got {overfit_steps}; raise it")
    patient = open_patient(
        run,
        given=str(data) if isinstance(data, Path) else data,
        vqvae=None if vqvae is None else str(vqvae),
        overfit_steps=overfit_steps,
        device=device,
        progress=checks.argument("progress", progress, bool),
    )
    _ = patient.data  # what cannot be opened is refused first
    if checks.argument("given_scales", given_scales, bool):
        check_given_scales(patient)
    shapes: list[dict[str, Any]] = [{"scale": f"{height}x{width}"} for height, width in patient.schedule.shapes]
    patient.measured["scales"] = shapes
    findings, looked_at, left_out = _seen(patient, {**LOOKS, **(GIVEN_SCALES if given_scales else {})})
    if {"tokenizer", "likelihood"} & {*looked_at} and isinstance(patient.others, str):
        left_out["held-out images"] = patient.others
    findings.sort(key=lambda each: each.severity != "fault")
    return Report(
        run=str(run),
        kind=patient.kind,
        steps=patient.steps,
        findings=tuple(findings),
        looked_at=tuple(looked_at),
        left_out=left_out,
        measured=patient.measured,
    )


def _seen(patient: Patient, looks: Mapping[str, Look]) -> tuple[list[Finding], list[str], dict[str, str]]:
    """The findings, the subjects that were looked at, and why the others of this kind of run were not."""
    findings: list[Finding] = []
    looked_at: list[str] = []
    left_out: dict[str, str] = {}
    for name, look in looks.items():
        faulty = {each.key for each in findings if each.severity == "fault"}
        if patient.kind not in look.kinds:
            continue
        if first := [each for each in look.needs if each in faulty]:
            left_out[name] = f"after the fault of {first[0]}"
            continue
        try:
            findings.extend(look.at(patient))
            looked_at.append(name)
        except NothingThereError as nothing:
            left_out[name] = str(nothing)
    return findings, looked_at, left_out
