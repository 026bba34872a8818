"""Groups of controls that tabs share."""

import random
from dataclasses import dataclass
from typing import Any

import gradio as gr

from var.app.drawing import NO_CLASS, RANDOM
from var.sampling.command import LoadedModel

MOST_SEED = 1_000_000
"""Of seeds that the page draws: they are short enough to be read under a picture."""


@dataclass(frozen=True, slots=True)
class Showing:
    """The controls that say what images show: some are hidden for models that do not take it."""

    shown: gr.Dropdown
    prompt: gr.Textbox


def showing(model: LoadedModel) -> Showing:
    """A class, by name or number, and a prompt, as far as the model takes them."""
    names = [each.split(",")[0] for each in model.class_names or model.names]
    shown = gr.Dropdown(
        [RANDOM, NO_CLASS, *names],
        value=RANDOM if model.num_classes else NO_CLASS,
        label="Class",
        info="a name or a number; random: each image another one",
        allow_custom_value=True,
        visible=model.num_classes > 0,
    )
    return Showing(shown, prompt_of(model))


def prompt_of(model: LoadedModel) -> gr.Textbox:
    """A prompt, for a model that was trained on texts."""
    info = "words like those of the training"
    return gr.Textbox(label="Prompt", info=info, visible=model.text_encoder is not None, max_length=500)


@dataclass(frozen=True, slots=True)
class Seeded:
    """The controls of a seed."""

    seed: gr.Number
    renew: gr.Checkbox


def seeded(*, renew: bool = True) -> Seeded:
    """A seed, and whether each click takes a new one."""
    seed = gr.Number(1, label="Seed", info="of the first image; the next ones follow", precision=0, minimum=0)
    return Seeded(seed, gr.Checkbox(renew, label="A new seed with each click"))


def next_seed(seed: float | None, renew: bool) -> float | None:
    """The seed of a click."""
    return random.SystemRandom().randrange(MOST_SEED) if renew else seed


def guidance(model: LoadedModel, label: str = "Guidance") -> gr.Slider:
    """How far images are led towards what is asked for; of a model without advice, further than by default."""
    scale = 3.0 if model.recommended is None else usual(model, "guidance_scale")
    return gr.Slider(min(1, scale), max(10, scale), value=scale, step=0.1, label=label, info="1 is off")


def usual(model: LoadedModel | None, name: str, otherwise: Any = None) -> Any:
    """Where the control of a setting begins: as the model recommends, or by default; of a list, at its last.

    `otherwise` stands for None, where either says so or there is no model.
    """
    value = None if model is None else getattr(model.settings({}), name)
    return otherwise if value is None else value[-1] if isinstance(value, tuple) else value


def moved(model: LoadedModel, values: dict[str, Any]) -> dict[str, Any]:
    """The settings whose controls were moved: one number would replace what is recommended for each scale."""
    return {name: value for name, value in values.items() if value != usual(model, name)}


def gallery_of(label: str) -> gr.Gallery:
    """Where images are shown side by side, pixel by pixel, and can be downloaded."""
    return gr.Gallery(
        label=label,
        columns=4,
        height="auto",
        object_fit="contain",
        buttons=["download", "download_all"],
        elem_classes="pixels",
    )


def words_of(settings: Any, name: str) -> list[str]:
    """The words that the field `name` of a settings class takes."""
    return list(settings.__dataclass_fields__[name].metadata["words"])
