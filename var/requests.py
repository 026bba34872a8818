"""What users ask of a generation pipeline, with one meaning in both paradigms: labels, counts, random streams."""

from collections.abc import Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from var.errors import UserError
from var.randomness import keyed_seed

ClassLabels = int | Sequence[int] | Tensor | str | None
Generators = torch.Generator | Sequence[torch.Generator] | None


def count_images(class_labels: ClassLabels, num_images: int | None, seeds: Sequence[int] | None) -> int:
    """Number of images that a call asks for; raises ValueError where its arguments disagree or say nothing."""
    counts = {
        "class_labels": _count_labels(class_labels),
        "num_images": num_images,
        "seeds": None if seeds is None else len(seeds),
    }
    given = {name: count for name, count in counts.items() if count is not None}
    if not given:
        return 1
    if len(set(given.values())) > 1:
        listed = ", ".join(f"{name} for {count}" for name, count in given.items())
        raise UserError(f"all arguments must ask for the same number of images, got {listed}; drop one of them")
    count = next(iter(given.values()))
    if count < 1:
        raise UserError(f"a call makes at least one image, got {next(iter(given))} for {count}; raise it")
    return count


def random_streams(
    count: int, generator: Generators, seeds: Sequence[int] | None, device: torch.device | str = "cpu"
) -> tuple[list[torch.Generator], list[int]]:
    """A generator for every image and their seeds, so that an image does not depend on the ones made beside it.

    A list holds each image's generator; one generator for many images seeds theirs; without either, `seeds` or fresh
    entropy do. An image's own generator is used as it is while it is new, so that it stands for its seed; one that was
    used before gives its next number as the seed. The global generators are left alone. Raises ValueError where the
    number of generators is wrong or both are given.
    """
    if generator is not None and seeds is not None:
        raise UserError("randomness comes from one source, got both generator and seeds; drop one of them")
    if isinstance(generator, Sequence):
        if len(generator) != count:
            raise UserError(f"expected one generator or one for each of {count} images, got {len(generator)}")
        own = list(generator)
    else:
        own = [generator] if generator is not None and count == 1 else []
    if own:
        streams = [_own_stream(each) for each in own]
        return [stream for stream, _ in streams], [seed for _, seed in streams]
    if seeds is None:
        source = torch.Generator() if generator is None else generator
        assert isinstance(source, torch.Generator)
        if generator is None:
            source.seed()
        seeds = torch.randint(2**62, (count,), generator=source, device=source.device).tolist()
    device = generator.device if isinstance(generator, torch.Generator) else torch.device(device)
    bad = [seed for seed in seeds if not 0 <= seed < 2**63]
    if bad:
        raise UserError(f"seeds must lie in [0, 2^63), got {bad[0]}; correct it")
    return [torch.Generator(device).manual_seed(seed) for seed in seeds], list(seeds)


def _own_stream(generator: torch.Generator) -> tuple[torch.Generator, int]:
    """The stream that an image's own generator gives, and the seed that repeats it."""
    seed = generator.initial_seed()
    new = torch.Generator(generator.device).manual_seed(seed)
    if 0 <= seed < 2**63 and torch.equal(generator.get_state(), new.get_state()):
        return generator, seed
    seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
    return new.manual_seed(seed), seed


def resolve_labels(
    class_labels: ClassLabels, count: int, num_classes: int, seeds: Sequence[int]
) -> Int64[Tensor, " batch"]:
    """Labels of the images: as given, the null label for None, or for "random" a class that follows from the seed.

    Raises ValueError for labels outside [0, num_classes), of another number than `count`, and for what is no whole
    number; the null label is asked for by None.
    """
    if class_labels is None:
        return torch.full((count,), num_classes)
    if isinstance(class_labels, str):
        if class_labels != "random":
            raise UserError(f"class_labels takes label numbers, None or 'random', got {class_labels!r}; pass a number")
        return torch.tensor([keyed_seed("label", seed) % num_classes for seed in seeds])
    try:
        labels = torch.as_tensor(class_labels)
    except (TypeError, ValueError, RuntimeError):  # words, lists of unequal length, numbers beyond 64 bits
        labels = torch.empty(0)
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool or labels.ndim > 1:
        raise UserError(f"class_labels must be whole numbers, got {class_labels!r}; pass for example [3, 7]")
    if labels.ndim and len(labels) != count:
        raise UserError(f"expected one class label or one for each of {count} images, got {len(labels)}")
    bad = [int(label) for label in labels.flatten() if not 0 <= label < num_classes]
    if bad:
        raise UserError(
            f"class labels must lie in [0, {num_classes}), got {bad[0]}; pass None for images without a class"
        )
    return labels.long().cpu().expand(count).clone()


def _count_labels(class_labels: ClassLabels) -> int | None:
    """Number of labels; None for none, one for all images, and "random"."""
    if class_labels is None or isinstance(class_labels, (int, str)) or getattr(class_labels, "ndim", 1) == 0:
        return None
    return len(class_labels)
