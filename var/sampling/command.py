"""What the drawing commands of both packages have in common: options, classes, records, the grid."""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from var.command_line.field_options import add_field_options, given_fields
from var.command_line.sampling_options import DTYPES, add_drawing_arguments
from var.errors import UserError
from var.hub.remote import existing_path
from var.names import shown
from var.outputs import check_beside_images, check_outputs
from var.paths import expanded
from var.quantities import count
from var.sampling.guidance import Guidance
from var.sampling.numbers import updated
from var.sampling.recommended import beside
from var.sampling.seeds import Seeds, parse_seeds
from var.sampling.work import MANIFEST, WorkList, class_folder, prompt_folder
from var.text.lines import one_line, texts_in

if TYPE_CHECKING:
    from var.sampling.record import Recipe


def placement(arguments: argparse.Namespace) -> dict[str, Any]:
    """The `dtype` and `device` that the options ask for, as keywords of `from_pretrained`."""
    import torch

    from var.devices import chosen_device

    dtype = None if arguments.dtype is None else getattr(torch, DTYPES[arguments.dtype])
    return {"dtype": dtype, "device": chosen_device(arguments.device)}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A pipeline that a command has loaded."""

    pipeline: Any  # called for images
    num_classes: int
    image_shape: tuple[int, int, int]  # (channels, height, width)
    class_names: Sequence[str] | None
    record: Mapping[str, Any]  # what the records of images say of it
    sampling: type[Any] | None = None  # the settings of a call, whose fields have options
    recommended: Any = None  # such settings, which a call takes where it says nothing
    goes_on: "LoadedModel | None" = None  # what draws on from its images, told the same
    evaluations: Callable[[Any], int] | None = None  # of the network, for an image at such settings
    picture: Callable[[Any], Any] | None = None  # images in [-1, 1] of what `callback_on_step_end` receives last
    text_encoder: Mapping[str, str] | None = None  # name and digest of what reads prompts

    guides: Mapping[str, Any] = field(default_factory=dict)  # other models, by the names that `Guidance` has for them

    @property
    def names(self) -> Sequence[str]:
        """A name for every class: its number where it has no other."""
        return self.class_names or [str(label) for label in range(self.num_classes)]

    def settings(self, said: Mapping[str, Any]) -> Any:
        """The settings of a call in which so much is said."""
        assert self.sampling is not None
        return updated(beside(self.recommended, said), self.sampling, said)

    def told(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """The same as records tell it, and beside it, where they are others, those of what goes on with the images."""
        own = self.settings(said).keywords()
        then = own if self.goes_on is None else self.goes_on.told(said)
        return own if then == own else {**own, **{f"then_{name}": value for name, value in then.items()}}

    def guided(self, **guides: tuple[Any, str]) -> "LoadedModel":
        """The same, guided by other models too, each beside its fingerprint, which records tell."""
        digests = {name: digest for name, (_, digest) in guides.items()}
        models = {name: model for name, (model, _) in guides.items()}
        return replace(self, guides={**self.guides, **models}, record={**self.record, **digests})


def add_sampling_options(parser: argparse.ArgumentParser, settings_class: type[Any]) -> None:
    """An option for every field of the settings of a call, of which what is not given is left to the model."""
    advice = "what is not given is as the model itself recommends, and by default where it recommends nothing"
    add_field_options(parser.add_argument_group("sampling", advice), settings_class)


def guided_by(
    loaded: LoadedModel, arguments: argparse.Namespace, load: Callable[[argparse.Namespace], LoadedModel]
) -> LoadedModel:
    """What was `loaded`, guided by the weaker model that the option names, if it does; it is loaded as the other."""
    if arguments.weaker is None:
        return loaded
    own = {"model": arguments.weaker, "revision": None, "variant": None}
    weaker = load(argparse.Namespace(**{**vars(arguments), **own}))
    return loaded.guided(weaker=(weaker.pipeline, weaker.record["fingerprint"]))


AddArguments = Callable[[argparse.ArgumentParser], None]
Load = Callable[[argparse.Namespace], LoadedModel]


def generate_command(
    add_model: AddArguments, load: Load, settings_class: type[Any]
) -> tuple[AddArguments, Callable[[argparse.Namespace], None]]:
    """`add_arguments` and `run` of the command that draws chosen classes and seeds with a pipeline of one kind."""

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        add_model(parser)
        add_drawing_arguments(parser)
        add_sampling_options(parser, settings_class)

    def run(arguments: argparse.Namespace) -> None:
        """Draw the images that the options ask for."""
        # Refused before torch is imported, which takes longer than to say so.
        existing_path(arguments.model, load.__module__.partition(".")[0])
        check_beside_images("--grid", arguments.grid, arguments.output)
        # Refused before a model is fetched.
        parse_seeds(arguments.seeds)
        chosen_prompts(arguments)
        said = given_fields(settings_class, arguments)
        settings_class(**said)
        model = load(arguments)
        work = chosen_work(arguments, model)
        if arguments.grid is not None:
            from var.sampling.grid import check_grid

            check_outputs([("--grid", arguments.grid)], model=arguments.model)
            check_grid(work.count, arguments.grid)
        recipe, drawn = draw_chosen(arguments, work, model, said)
        if arguments.grid is not None:
            from var.sampling.grid import save_grid

            save_grid(work, recipe, arguments.output, arguments.grid)
        print(drawn)
        if arguments.grid is not None:
            print(f"all of them in {shown(arguments.grid)}")

    return add_arguments, run


def chosen_work(arguments: argparse.Namespace, model: LoadedModel) -> WorkList:
    """The work list of the classes, texts and seeds that the options name."""
    prompts = chosen_prompts(arguments)
    if arguments.classes and not model.num_classes and model.text_encoder:
        remedy = "leave --classes out" if prompts else "pass --prompt"
        raise UserError(f"the model takes prompts and no class labels, got {arguments.classes[0]!r}; {remedy}")
    if prompts and model.num_classes and not model.text_encoder:
        remedy = "leave the prompt out" if arguments.classes else "pass --classes"
        raise UserError(f"the model takes classes and no prompts, got {prompts[0]!r:.100}; {remedy}")
    return _with_prompts(_work(arguments.classes, parse_seeds(arguments.seeds), model), prompts)


def draw_chosen(
    arguments: argparse.Namespace, work: WorkList, model: LoadedModel, said: Mapping[str, Any]
) -> tuple["Recipe", str]:
    """Draw a work list into the folder `arguments.output`, for it alone; how its images are made, and what was done.

    `said` are the fields of the settings of a call that are not left to the model.
    """
    from var.sampling.record import Recipe

    _check_no_set(expanded(arguments.output))
    read = {"text_encoder": model.text_encoder["digest"]} if work.prompts and model.text_encoder else {}
    recipe = Recipe({**model.record, **read, **model.told(said)}, model.names)
    return recipe, draw_work(arguments, work, model, recipe, said)


def _check_no_set(root: Path) -> None:
    """Raise where `root` holds a set of a protocol, which further images would spoil."""
    if os.path.lexists(root / MANIFEST):
        raise UserError(
            f"{root} must be a folder for these images alone, but holds the set of {MANIFEST}; choose another --output"
        )


def draw_work(
    arguments: argparse.Namespace,
    work: WorkList,
    model: LoadedModel,
    recipe: Any,
    options: Mapping[str, Any],
    *,
    rounding: str = "nearest",
    on_start: Callable[[], None] = lambda: None,
) -> str:
    """Draw a work list as the options of `add_batch_arguments` say, into the folder `arguments.output`; what was done.

    It is for the caller to print, once all files are written.
    """
    from var.images import to_pil
    from var.sampling.drawing import draw_image_set

    def draw(labels: list[int] | None, seeds: list[int], *prompts: list[str]) -> Sequence[Any]:
        asked = {"seeds": seeds} | ({"prompt": prompts[0]} if prompts else {})
        guided = {"guidance": Guidance(**model.guides)} if model.guides else {}
        images = model.pipeline(labels, **asked, **guided, progress=False, output_type="pt", **options).images
        return to_pil(images * 2 - 1, rounding)  # loses nothing: levels are made of x + 1, which "pt" holds exactly

    drawn = draw_image_set(
        work,
        draw,
        recipe,
        arguments.output,
        batch_size=arguments.batch_size,
        overwrite=arguments.overwrite,
        progress=not arguments.quiet,
        on_start=on_start,
    )
    return f"{count(drawn.count, 'image')} in {shown(arguments.output)}, {drawn.new} of them new"


def chosen_prompts(arguments: argparse.Namespace) -> list[str]:
    """The texts that the options name; raises `UserError` for what is none."""
    if arguments.prompts is not None:
        return texts_in(arguments.prompts)
    return [] if arguments.prompt is None else [one_line(arguments.prompt)]


def _with_prompts(work: WorkList, prompts: Sequence[str]) -> WorkList:
    """The work list for each of the texts; of several, each has a folder of its own."""
    if len(prompts) < 2:
        return replace(work, prompts={folder: prompt for folder in work.classes for prompt in prompts})
    if len(work.classes) > 1:
        raise UserError(
            f"several prompts may be drawn for one class at most, got {len(work.classes)} classes beside "
            f"{len(prompts)} prompts; name one of them"
        )
    (label,) = work.classes.values()
    folders = [prompt_folder(place, prompt, len(prompts)) for place, prompt in enumerate(prompts)]
    return WorkList(work.seeds, dict.fromkeys(folders, label), dict(zip(folders, prompts, strict=True)))


def _work(classes: Sequence[str], seeds: Seeds, model: LoadedModel) -> WorkList:
    """The work list of classes as they were typed: names, labels, or the word "random"."""
    from var.sampling.labels import asks_for_random, label_of, resolve_labels

    if len(classes) == 1 and asks_for_random(classes[0], model.class_names):
        return WorkList(seeds, {"": lambda seed: int(resolve_labels(classes[0], 1, model.num_classes, [seed]))})
    labels = [label_of(text, model.num_classes, model.class_names) for text in classes]
    if len(labels) < 2:
        return WorkList(seeds, {"": labels[0] if labels else None})
    twice = next((text for text, label in zip(classes, labels, strict=True) if labels.count(label) > 1), None)
    if twice is not None:
        raise UserError(f"classes must differ, got {twice!r} more than once; name each of them once")
    return WorkList(seeds, {class_folder(label, model.names[label], model.num_classes): label for label in labels})
