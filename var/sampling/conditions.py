"""What users ask the images of a call to show, as the condition that a model is told, in both paradigms."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from var.conditions import Condition
from var.errors import UserError
from var.sampling.labels import ClassLabels, resolve_labels
from var.sampling.prompts import Prompt, Reader
from var.sampling.vectors import Vectors, resolve_sequence, resolve_vectors


def resolve_condition(
    class_labels: ClassLabels,
    count: int,
    num_classes: int,
    seeds: Sequence[int],
    class_names: Sequence[str] | None = None,
    *,
    vectors: Vectors = None,
    vector_width: int = 0,
    sequence_width: int = 0,
    prompt: Prompt = None,
    reader: Reader | None = None,
    device: torch.device | str = "cpu",
) -> Condition:
    """The condition of what a call asks for, for models of `num_classes` that take vectors of `vector_width` (0: none).

    See `resolve_labels` and `resolve_vectors`. A model that takes vectors needs them, or a `prompt` that its `reader`,
    opened on `device`, makes such of, unless nothing is asked for; classes beside them may be left out. The same holds
    for a sequence, which only a prompt or a `Condition` has; the latter is taken as it is, if it fits.
    """
    if isinstance(class_labels, Condition):
        if vectors is not None or prompt is not None:
            beside = "vectors" if prompt is None else "a prompt"
            raise UserError(f"a condition holds its vectors, got {beside} beside it; pass one of them")
        return _with_sequence(_fitting(class_labels, count, num_classes, vector_width), sequence_width)
    if vectors is not None and prompt is not None:
        raise UserError("a prompt is made into vectors, got vectors beside it; pass one of them")
    _check_taken(
        class_labels is not None,
        num_classes,
        vector_width,
        sequence_width=sequence_width,
        vectors=vectors is not None,
        prompt=prompt is not None,
        encoder=reader.name if reader else "",
    )
    labels = resolve_labels(class_labels, count, num_classes, seeds, class_names)
    condition = replace(Condition.nothing(count, vector_width), labels=labels, given=labels != num_classes)
    if prompt is not None and reader is not None:
        read = reader.features(prompt, count, device, sequences=sequence_width > 0)
        condition = replace(Condition.of(labels), sequence=read.sequence, sequence_mask=read.mask)
        vectors = read.vectors if vector_width else None
    if vectors is not None:
        vectors = resolve_vectors(vectors, count, vector_width)
        condition = replace(condition, given=torch.ones_like(condition.given), vectors=vectors)
    return _with_sequence(condition, sequence_width)


def _fitting(condition: Condition, count: int, num_classes: int, vector_width: int) -> Condition:
    """A condition from outside, as the model takes it; raises `UserError` if it does not fit."""
    condition = condition.checked()
    given = condition.given
    if len(condition) != count:
        raise UserError(f"a condition needs a row for each of {count} images, got {len(condition)}; correct it")
    labels = condition.classes(num_classes)[given]
    alone = vector_width > 0 or condition.sequence is not None
    if alone or condition.labels is None:  # where the null label says that there is a vector, or a sequence, alone
        labels = labels[labels != num_classes]
    vectors, needed = condition.vectors is not None, bool(given.any())
    _check_taken(labels.numel() > 0, num_classes, vector_width, vectors=vectors, needed=needed)
    resolve_labels(labels if num_classes else None, len(labels), num_classes, [])
    if not vector_width:
        return condition
    if condition.vectors is None:
        return replace(condition, vectors=torch.zeros(count, vector_width, device=given.device))
    return replace(condition, vectors=resolve_vectors(condition.vectors, count, vector_width))


def _with_sequence(condition: Condition, width: int) -> Condition:
    """A condition that fits but for its sequence, as models take it; raises `UserError` if that does not fit."""
    if condition.sequence is not None and width:
        sequence, mask = resolve_sequence(condition.sequence, condition.sequence_mask, len(condition), width)
        return replace(condition, sequence=sequence, sequence_mask=mask)
    if condition.sequence is not None or (width and condition.given.any()):
        takes, got = (f"a sequence of width {width}", "none") if width else ("no sequence", "one")
        raise UserError(f"the model takes {takes}, got {got}; pass a prompt or a condition of such")
    if not width:
        return condition
    return replace(condition, sequence=torch.zeros(len(condition), 0, width, device=condition.given.device))


def _check_taken(
    labels: bool,
    num_classes: int,
    vector_width: int,
    *,
    vectors: bool,
    sequence_width: int = 0,
    prompt: bool = False,
    needed: bool = False,
    encoder: str = "",
) -> None:
    """Raise `UserError`, which says what the model takes, for what it does not, or not alone.

    `encoder` is the name of what reads prompts, if it is known.
    """
    how = "prompt" if encoder else "vectors"
    if not vector_width and (vectors or (prompt and not sequence_width)):
        wrong = "a prompt" if prompt else "vectors"
        remedy = f"leave {'it' if prompt else 'them'} out" if labels else "pass class_labels"
    elif prompt and not encoder:
        wrong, remedy = "a prompt", "pass vectors, or set text_encoder to what made those of the training"
    elif labels and not num_classes:
        wrong, remedy = "class labels", "leave them out" if prompt or vectors else f"pass {how}"
    elif vector_width and not (vectors or prompt) and (labels or needed):
        wrong, remedy = f"no {how}", f"pass {how} too, or neither for images of nothing in particular"
    else:
        return
    widths = {"vectors": vector_width, "sequences": sequence_width}
    takes = " and ".join(f"{name} of width {width}" for name, width in widths.items() if width)
    if encoder:
        takes = f"prompts, or {takes} that the text encoder {encoder!r} makes"
    if num_classes or not takes:
        classes = f"class labels below {num_classes}" if num_classes else "no class labels"
        takes = f"{classes} and {takes or 'no vectors'}"
    else:
        takes += f"{', ' if encoder else ' '}and no class labels"
    raise UserError(f"the model takes {takes}, got {wrong}; {remedy}")
