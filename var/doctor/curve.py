"""Whether the loss falls, and as it fell when the preset was trained here."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from var.doctor.patient import Patient
from var.doctor.report import Finding
from var.foreign.logs import read_log
from var.quantities import count
from var.recipes.transformer.presets import PRESETS as TRANSFORMERS
from var.recipes.vqvae.presets import PRESETS as TOKENIZERS

SOURCES = {"digits": "digits", "shapes-32": "shapes", "emoji-32": "emoji"}
"""The data of the presets whose curves came with the package."""
CURVES = Path(__file__).parent / "curves"
BEHIND = 0.25
"""Share of what the reference had learned that a run may lack at the same step; seeds differ by a twentieth."""
FINISHED = 0.98
RISE = 0.25
"""Of the first loss, that the last third of the rows must not have on top of it; a row of one batch varies by .1."""


def look_at_curve(patient: Patient) -> Iterator[Finding]:
    """The log by itself, and against the reference."""
    name = patient.loss_name
    rows = [(row["step"], row[name]) for row in patient.rows if name in row]
    losses = [loss for _, loss in rows]
    planned = patient.settings.training.steps
    patient.measured["curve"] = {"first": losses[0], "last": losses[-1]} if all(map(isfinite, losses)) else {}
    if not all(map(isfinite, losses)):
        yield _fault("the loss is not finite", f"first at step {next(s for s, loss in rows if not isfinite(loss)):.0f}")
    elif len(losses) > 2 and fmean(losses[-(len(losses) // 3) :]) > (1 + RISE) * losses[0]:
        yield _fault("the loss rises", f"{losses[0]:.4g} at step {rows[0][0]:.0f}, {losses[-1]:.4g} at the end")
    if patient.steps < FINISHED * planned:
        yield Finding(
            key="unfinished",
            severity="remark",
            said="the run is not finished",
            measured=f"{patient.steps:,} of {count(planned, 'step')}",
            remedy="run the same command again to go on",
        )
    if (preset := _preset(patient)) is not None:
        yield from _against_reference(patient, preset, rows[-1], name)


def _fault(said: str, measured: str) -> Finding:
    remedy = "lower training.learning_rate, and look at the other findings: data, tokens and tokenizer come first"
    return Finding(key="curve", severity="fault", said=said, measured=measured, remedy=remedy)


def _preset(patient: Patient) -> str | None:
    """The preset whose model, losses, data and batch the run has, whatever its steps and its learning rate are."""
    if patient.kind == "decoder":
        return None  # its curve depends on the decoder that it began with
    table: Mapping[str, Any] = TOKENIZERS if patient.kind == "vqvae" else TRANSFORMERS
    own = _bound(patient.settings)
    for name, source in SOURCES.items():
        if own == _bound(table[name]) and patient.settings.data.source.partition("?")[0] == source:
            return name
    return None


def _bound(settings: Any) -> dict[str, Any]:
    """The settings on which a curve depends from its first step on."""
    free = ("training", "evaluation", "checkpoints", "gradient_checkpointing", "sampling", "data")
    told = {field.name: getattr(settings, field.name) for field in fields(settings) if field.name not in free}
    return told | {"data": replace(settings.data, source=""), "batch_size": settings.training.batch_size}


def _against_reference(patient: Patient, preset: str, last: tuple[float, float], name: str) -> Iterator[Finding]:
    curve = read_log(CURVES / f"{patient.kind}-{preset}.jsonl")
    known = [(row["step"], row[name]) for row in curve if name in row]
    step, loss = last
    compared = min(step, known[-1][0])  # a curve may end before the preset's last step
    expected = _at(known, compared)
    patient.measured["reference"] = {"preset": preset, "step": step, "loss": loss, "expected": expected}
    if loss - expected > BEHIND * (known[0][1] - expected) and step > known[0][0]:
        yield Finding(
            key="reference",
            severity="remark",
            said=f"the run has learned less than the preset {preset} did here",
            measured=f"{name} {loss:.4g} at step {step:.0f}; the reference had {expected:.4g} at step {compared:.0f}",
            remedy="compare its settings with the preset's, and look at the other findings",
        )


def _at(curve: list[tuple[float, float]], step: float) -> float:
    """The loss of a curve at a step, linear between its rows."""
    later = next((place for place, (each, _) in enumerate(curve) if each >= step), len(curve) - 1)
    (start, before), (end, after) = curve[max(later - 1, 0)], curve[later]
    return after if end == start else before + (after - before) * (step - start) / (end - start)
