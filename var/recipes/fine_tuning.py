"""Starting from trained weights: which tokenizer, which transformer, and other classes than it was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from var.errors import UserError
from var.generation import VARPipeline
from var.hub.kinds import OtherKindError, saved_name
from var.hub.layout import PIPELINE_INDEX
from var.hub.remote import find_folder
from var.original import load_original_vqvae
from var.recipes.other_kinds import sent_on
from var.runs.fine_tuning import check_fixed, take_over
from var.scales import Side
from var.tokenizer import Tokenizer
from var.transformer import VAR, VARConfig

FREE = ("num_classes", "dropout", "drop_path", "embedding_std", "modulation_std", "gate_std")
"""Fields of a transformer's config that trained weights do not fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Trained weights to start from."""

    transformer: VAR
    vqvae: Tokenizer | None  # the tokenizer that they were trained with, where it lies beside them
    class_names: tuple[str, ...] | None
    text_encoder: dict[str, str] | None = None  # name and digest, where they were trained on texts


def load_tokenizer(source: str, sides: Sequence[Side]) -> Tokenizer:
    """The tokenizer in `source`: the folder of a run, a model or a pipeline, a name on the Hub, or an official file.

    An official file does not tell the `sides` of its token maps. Raises `UserError` if there is no tokenizer.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return load_original_vqvae(path, sides=sides)
    folder = path if path.exists() else find_folder(source)
    if not (folder / PIPELINE_INDEX).exists():
        with sent_on(source):
            return Tokenizer.from_pretrained(folder)
    if not (folder / "vqvae").is_dir():
        remedy = "give the run of `var train vqvae`, or a pipeline with its tokenizer"
        raise OtherKindError(f"{folder} must hold a tokenizer, got a {saved_name(folder)}", "", remedy)
    return Tokenizer.from_pretrained(folder / "vqvae")


def load_start(source: str, *, variant: str | None = None, tokenizer: str | None = None) -> Start:
    """The transformer in `source`: a folder (run, pipeline or transformer), a name on the Hub, or an official file.

    `variant` chooses among the authors' models; an official file needs that of its `tokenizer` beside it. Raises
    `UserError` if there is no transformer.
    """
    path = Path(source).expanduser()
    if path.is_file():
        if tokenizer is None:
            raise UserError(f"an official transformer needs its tokenizer's file, got only {path}; add --vqvae")
        pipeline = VARPipeline.from_original(tokenizer, path)
    elif variant is not None:
        pipeline = VARPipeline.from_pretrained(source, variant=variant)
    else:
        folder = path if path.exists() else find_folder(source)
        with sent_on(source):
            if not (folder / PIPELINE_INDEX).exists():
                return Start(transformer=VAR.from_pretrained(folder), vqvae=None, class_names=None)
            pipeline = VARPipeline.from_pretrained(folder)
    text_encoder = pipeline.settings().get("text_encoder")
    return Start(
        transformer=pipeline.transformer,
        vqvae=pipeline.vqvae,
        class_names=pipeline.class_names,
        text_encoder=text_encoder,
    )


def with_classes(start: Start, config: VARConfig, names: Sequence[str]) -> tuple[VAR, str]:
    """A transformer of `config` with the weights of `start` for the classes `names`, and what became of the classes.

    See `take_over`. Raises `UserError` unless `config` has the architecture of `start`.
    """
    remedy = "leave it out, and give the tokenizer with which they were trained"
    check_fixed("transformer", config, start.transformer.config, FREE, remedy=remedy)
    with torch.random.fork_rng(devices=[]):  # the initial weights are drawn, and then replaced
        model = VAR(config)
    return model, take_over(model, start.transformer, "class_embedding.weight", start.class_names, names)
