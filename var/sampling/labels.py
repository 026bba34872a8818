"""How many images users ask a pipeline for, and of which classes, with one meaning in both paradigms."""

import re
from collections import defaultdict
from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from var import quantities
from var.conditions import Condition
from var.errors import UserError, suggestion
from var.names import received
from var.randomness import keyed_seed
from var.sampling.numbers import listed_values, plain, whole
from var.sampling.prompts import Prompt, count_prompts
from var.sampling.streams import GivenSeeds
from var.sampling.vectors import Vectors, count_vectors
from var.typed import length

ClassLabels = int | str | np.integer | Sequence[int | str | np.integer] | np.ndarray | Tensor | Condition | None
"""A class or one for each image, by numbers (Python's, numpy's, torch's) or names; a condition; None for no class."""

Count = int | np.integer | None
"""A number of images; None where something else says it."""

RANDOM = "random"
"""The word for classes drawn at random."""

MOST_IMAGES = 2**20
"""Of one call: a number of images beyond it is a slip that would take all memory."""


def count_images(
    class_labels: ClassLabels,
    num_images: Count,
    seeds: GivenSeeds,
    vectors: Vectors = None,
    prompt: Prompt = None,
    **others: int | None,
) -> int:
    """Number of images that a call asks for; raises `UserError` where its arguments disagree or say nothing.

    `others` are the numbers of what else it was given, by name; None for what leaves it open.
    """
    counts = {
        "class_labels": _count_labels(class_labels),
        "prompt": count_prompts(prompt),
        "vectors": count_vectors(vectors),
        "num_images": None if num_images is None else whole(num_images, "num_images"),
        "seeds": None if seeds is None else length(listed_values(seeds, "seeds")),
        **others,
    }
    given = {name: count for name, count in counts.items() if count is not None}
    if not given:
        return 1
    if len(set(given.values())) > 1:
        listed = ", ".join(f"{name} for {received(count)}" for name, count in given.items())
        beside = {count for name, count in given.items() if name != "seeds"}
        asked = beside.pop() if len(beside) == 1 else 0
        remedy = f"give {quantities.count(asked, 'seed')}, or none" if 0 < asked <= MOST_IMAGES else "drop one of them"
        raise UserError(f"all arguments must ask for the same number of images, got {listed}; {remedy}")
    count = next(iter(given.values()))
    if count < 1:
        raise UserError(f"a call makes at least one image, got {next(iter(given))} for {count}; raise it")
    if count > MOST_IMAGES:
        raise UserError(
            f"a call makes at most {MOST_IMAGES} images, got {next(iter(given))} for {received(count)}; make "
            "several calls"
        )
    return count


def resolve_labels(
    class_labels: ClassLabels,
    count: int,
    num_classes: int,
    seeds: Sequence[int],
    class_names: Sequence[str] | None = None,
) -> Int64[Tensor, " batch"]:
    """Labels of the images: as given, the null label for None, or for "random" a class that follows from the seed.

    Where there are `class_names`, a class may be given by its name (see `label_of`). Raises `UserError` for labels
    outside [0, num_classes), of another number than `count`, for unknown names and for what is no whole number; the
    null label is asked for by None.
    """
    if class_labels is None:
        return torch.full((count,), num_classes)
    if not num_classes:
        raise UserError(f"the model takes no class labels, got {received(class_labels)}; leave them out")
    if asks_for_random(class_labels, class_names):
        return torch.tensor([keyed_seed("label", seed) % num_classes for seed in seeds])
    given = plain(class_labels, "class_labels")
    if isinstance(given, str):
        given = label_of(given, num_classes, class_names)
    one_each = isinstance(given, Sequence) and not isinstance(given, bytes | bytearray)
    listed: Any = given if one_each else [given]
    if one_each and (found := length(given)) != count:
        raise UserError(
            f"expected one class label or one for each of {count} images, got {received(found)}; pass as many"
        )
    named = class_names is not None
    values = [
        label_of(each, num_classes, class_names)
        if named and isinstance(each, str)
        else plain(each, "each of class_labels")
        for each in listed
    ]
    if not all(type(label) is int and -(2**63) <= label < 2**63 for label in values):
        raise UserError(f"class_labels must be whole numbers, got {received(given)}; pass for example [3, 7]")
    bad = [label for label in values if not 0 <= label < num_classes]
    if bad:
        raise UserError(
            f"class labels must lie in [0, {num_classes}), got {bad[0]}; pass None for images without a class"
        )
    return torch.tensor(values, dtype=torch.long).expand(count).clone()


def asks_for_random(class_labels: ClassLabels, class_names: Sequence[str] | None = None) -> bool:
    """Whether the labels are the word "random" and no class has that name."""
    return isinstance(class_labels, str) and class_labels == RANDOM and not _named(RANDOM, class_names or ())


def checked_class_names(class_names: Sequence[str] | None, num_classes: int) -> tuple[str, ...] | None:
    """The names as a tuple, one for each of `num_classes`; raises `UserError` for anything else."""
    if class_names is None:
        return None
    if not isinstance(class_names, (list, tuple)) or not all(isinstance(name, str) for name in class_names):
        raise UserError(f"class_names must be a list of words, got {received(class_names)}; give one per class")
    if len(class_names) != num_classes:
        raise UserError(f"class_names must name {num_classes} classes, got {len(class_names)}; give one per class")
    return tuple(class_names)


def label_of(name: str | int, num_classes: int, class_names: Sequence[str] | None) -> int:
    """The label of the class with this name; a label is its own.

    A class may have several names, separated by commas, the main one first: a class's main name wins over the same name
    further back in another's. Case, underscores and hyphens do not matter. Digits that name no class are the label
    itself. Raises `UserError` for an unknown name and for one that several classes have.
    """
    if not num_classes:
        raise UserError(f"the model takes no class labels, got {received(name)}; leave them out")
    if not isinstance(name, str):
        return _label(whole(name, "a class label"), num_classes)
    labels = _named(name, class_names or ())
    if len(labels) == 1:
        return labels[0]
    if labels:
        assert class_names is not None
        several = ", ".join(f"{label} ({class_names[label]})" for label in labels)
        raise UserError(f"a class name must mean one class, got {name!r}, which is {several}; pass the number")
    if re.fullmatch(r"[0-9]{1,18}", name):
        return _label(int(name), num_classes)
    if class_names is None:
        raise UserError(
            f"class_labels takes label numbers, None or 'random', got {name!r}; pass a number, as no class has a name"
        )
    raise UserError(f"class_labels must name known classes, got {name!r}; {_nearest_names(name, class_names)}")


def _label(label: int, num_classes: int) -> int:
    if not 0 <= label < num_classes:
        raise UserError(f"class labels must lie in [0, {num_classes}), got {label}; correct it")
    return label


def _named(name: str, class_names: Sequence[str]) -> list[int]:
    """Labels of the classes that have this name: the whole of it, else the main one, else any."""
    wanted = _plain(name)
    return next((names[wanted] for names in _labels_by_name(tuple(class_names)) if wanted in names), [])


@lru_cache(maxsize=8)
def _labels_by_name(class_names: tuple[str, ...]) -> tuple[dict[str, list[int]], ...]:
    """Labels by whole names (where there are several to a class), by main names, and by all names."""
    whole, main, every = (defaultdict[str, list[int]](list) for _ in range(3))
    for label, full in enumerate(class_names):
        parts = list(dict.fromkeys(map(_plain, full.split(","))))
        if "," in full:
            whole[_plain(full)].append(label)
        main[parts[0]].append(label)
        for part in parts:
            every[part].append(label)
    return whole, main, every


def _plain(name: str) -> str:
    return " ".join(re.sub(r"[_-]", " ", name).casefold().split())


def _nearest_names(name: str, class_names: Sequence[str]) -> str:
    """The remedy for an unknown class: the names nearest to it, in their own spelling."""
    spelled = {_plain(part): part.strip() for full in class_names for part in full.split(",")}
    near = get_close_matches(_plain(name), spelled, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(repr(spelled[each]) for each in near)}?"
    return suggestion("", spelled.values()) if len(spelled) <= 20 else "see the pipeline's class_names"


def _count_labels(class_labels: ClassLabels) -> int | None:
    """Number of labels; None for none, one for all images, "random", and what `resolve_labels` will refuse."""
    if isinstance(class_labels, Condition):
        return len(class_labels.checked())
    given = plain(class_labels, "class_labels")
    return None if isinstance(given, str) or not hasattr(given, "__len__") else length(given)
