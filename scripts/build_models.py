"""Make the models that come with the packages anew: train them from seeds, store them in bfloat16, write their cards.

    python scripts/build_models.py [NAME ...] [--runs DIR] [--output DIR] [--set NAME=VALUE] [--quiet]

The runs are those of `var train` and `python -m diffusion_baseline train`: the same command goes on where it was
interrupted, and what is trained already is only measured and written again.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from var.command_line.frame import CommandParser, file_path, guarded, one_of
from var.command_line.run_options import add_set_argument
from var.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from var.hub import PretrainedPipeline
    from var.runs.job import Job

ROOT = Path(__file__).resolve().parents[1]
MOST = 12_000_000
"""Bytes of all models together: a wheel is downloaded by many."""
ASKED, JUDGED = 240, ("shape", "colour", "ground")
"""Images of each kind of captions, of models that are asked in words, and the attributes that have to be as asked."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one name stands for, in both packages."""

    data: str
    tokenizer: str  # presets
    transformer: str
    decoder: str = ""  # without, it stays the tokenizer's
    diffusion: str = ""  # without, there is no twin
    autoencoder: str = ""  # whose latents are diffused; without, pixels are
    steps: Mapping[str, int] = field(default_factory=dict)  # by the folder of a stage, where the preset has others
    seed: int = 0
    call: str = ""  # the example of the cards, where it is another than usual
    asked: Mapping[str, str] = field(default_factory=dict)  # data whose captions are asked for, by what cards call it


MODELS = {
    "digits": Plan(data="digits", tokenizer="digits", transformer="digits", decoder="digits", diffusion="digits"),
    # Up to a quarter longer than the presets, with which a whole comparison fits an hour.
    "emoji": Plan(
        data="emoji",
        tokenizer="emoji-32",
        transformer="emoji-32",
        decoder="emoji-32",
        diffusion="emoji-32",
        steps={"vqvae": 1800, "transformer": 1800, "decoder": 300, "diffusion": 4200},
    ),
    # More steps than the presets, which were chosen on a slower CPU: 15 and 9 minutes of a core of an EPYC (Zen 5).
    "shapes-text": Plan(
        data="shapes?combinations=seen",
        tokenizer="shapes-text-32",
        transformer="shapes-text-32",
        diffusion="shapes-text-latent-32",
        autoencoder="shapes-text-32",
        call='prompt="a large red circle on a blue ground", seeds=[0, 1]',
        steps={"transformer": 7500, "diffusion": 12_000},
        asked={"seen": "shapes?combinations=seen", "held out": "shapes?combinations=held-out"},
    ),
}
"""All models, by name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the models; returns the exit code: 0, 2 for a mistake of the user, 130 where it was interrupted."""
    resume = "run the same command again to go on"
    return guarded("build_models.py", lambda: _build_all(_parser().parse_args(arguments)), interrupted=resume)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="build_models.py", description="Train the models that come with the packages.")
    parser.add_argument("names", nargs="*", type=one_of(*MODELS), help=f"some of {', '.join(MODELS)} (default: all)")
    parser.add_argument("--runs", type=file_path, default=Path("outputs/models"), help="folder of the training runs")
    parser.add_argument(
        "--output", type=file_path, default=ROOT, help="write to DIR/PACKAGE/models (default: the tree)"
    )
    add_set_argument(parser, "a setting of all runs, such as training.steps=20 for a trial")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    return parser


def _build_all(options: argparse.Namespace) -> int:
    for name in options.names or MODELS:
        if code := _build(name, options):
            return code
    return 0


def _build(name: str, options: argparse.Namespace) -> int:
    """Train what is not trained yet, then write the two models."""
    runs = _runs(name, options)
    for package, folder, words in runs:
        if code := import_module(f"{package}.cli").main(words):
            return code
        if not (folder / "finished.json").exists():
            raise KeyboardInterrupt  # a signal stopped it, and it has said so
    _write(name, options, [_arguments(package, words) for package, _, words in runs])
    return 0


def _runs(name: str, options: argparse.Namespace) -> list[tuple[str, Path, list[str]]]:
    """Package, folder and words of the command that trains each part: tokenizer, transformer, decoder, codec, U-Net."""
    plan, home = MODELS[name], options.runs / name
    parts = ("vqvae", "transformer", "decoder", "autoencoder", "diffusion")
    vqvae, transformer, decoder, autoencoder, unet = (home / part for part in parts)
    shared = ["--seed", str(plan.seed), "--device", "cpu", *(["--quiet"] if options.quiet else [])]
    runs = [
        ("var", vqvae, ["train", "vqvae"], plan.tokenizer),
        ("var", transformer, ["train", "transformer", "--vqvae", str(vqvae)], plan.transformer),
    ]
    runs += [("var", decoder, ["train", "decoder", "--init", str(transformer)], plan.decoder)] * bool(plan.decoder)
    codec = ["--codec", str(autoencoder)] * bool(plan.autoencoder)
    runs += [("var", autoencoder, ["train", "autoencoder"], plan.autoencoder)] * bool(plan.autoencoder)
    runs += [("diffusion_baseline", unet, ["train", *codec], plan.diffusion)] * bool(plan.diffusion)

    def settings(stage: str) -> list[str]:
        steps = [f"training.steps={plan.steps[stage]}"] if stage in plan.steps else []
        return [word for each in (*steps, *options.assignments) for word in ("--set", each)]

    return [
        (
            package,
            folder,
            [*words, plan.data, "--preset", preset, "--output", str(folder), *shared, *settings(folder.name)],
        )
        for package, folder, words, preset in runs
    ]


def _arguments(package: str, words: Sequence[str]) -> argparse.Namespace:
    """What the command to train makes of its words."""
    parser = CommandParser(prog=f"{package} {words[0]}")
    import_module(f"{package}.commands.{words[0]}").add_arguments(parser)
    return parser.parse_args(words[1:])


def _write(name: str, options: argparse.Namespace, commands: Sequence[argparse.Namespace]) -> None:
    """Store the models in bfloat16, with the scores that they have so."""
    import torch

    from diffusion_baseline import DiffusionPipeline
    from diffusion_baseline.job import DiffusionJob
    from var import VARPipeline
    from var.recipes.autoencoder.job import AutoencoderJob
    from var.recipes.decoder.job import DecoderJob
    from var.recipes.transformer.job import TransformerJob
    from var.recipes.vqvae.job import VQVAEJob

    first, second, *others = commands
    jobs: list[Job[Any]] = [VQVAEJob.of(first), TransformerJob.of(second)]
    last = second
    if MODELS[name].decoder:
        last, *others = others
        jobs.append(DecoderJob.of(last))
    ours = VARPipeline.from_pretrained(last.output).to(torch.bfloat16)
    ours.sampling = jobs[1].settings.sampling  # which runs of before were saved without
    asking = _asking(name)
    tokenizer = {f"tokenizer: {key}": value for key, value in _scores(jobs[0], first, ours.vqvae).items()}
    scores = tokenizer | _scores(jobs[1], second, ours.transformer, ours.vqvae) | asking(ours)
    _store(ours, name, options, jobs, scores)
    codecs: list[Job[Any]] = []
    if MODELS[name].autoencoder:
        first, *others = others
        codecs.append(AutoencoderJob.of(first))
    for each in others:
        job, theirs = DiffusionJob.of(each), DiffusionPipeline.from_pretrained(each.output).to(torch.bfloat16)
        theirs.sampling = job.settings.sampling
        scores = _scores(job, each, theirs.unet, theirs.codec) | asking(theirs)
        _store(theirs, name, options, [*codecs, job], scores)


def _scores(
    job: "Job[Any]", arguments: argparse.Namespace, model: "nn.Module", codec: "nn.Module | None" = None
) -> dict[str, float]:
    """The run's own scores for the weights of a stored `model`, and of its `codec` (or tokenizer), in float32."""
    import torch

    from var.runs.session import Session

    session = Session.of(arguments)
    prepared = job.prepare(session)
    prepared.task.model.load_state_dict(model.state_dict())
    if codec is not None:
        own: Any = getattr(job, "vqvae", None) or getattr(job, "codec", None)
        own.load_state_dict(codec.state_dict())
    with torch.no_grad():
        return prepared.evaluation.scores(prepared.task.model.eval(), session.folder.samples / "stored.png")


def _asking(name: str) -> "Callable[[PretrainedPipeline], dict[str, float]]":
    """What tells how many of `ASKED` images of a model show the shape, colour and ground of the captions `asked`."""
    import torch

    from var.data import open_data
    from var.evaluation.features.attributes import train_attributes
    from var.evaluation.metrics.text_alignment import attributes_as_asked, text_alignment
    from var.images import to_uint8

    plan = MODELS[name]
    if not plan.asked:
        return lambda pipeline: {}
    judge = train_attributes(open_data(plan.data.partition("?")[0], split="train"))

    def shares(pipeline: Any) -> dict[str, float]:
        found: dict[str, float] = {}
        for each, source in plan.asked.items():
            data: Any = open_data(source, split="test", captions=True)
            captions = data.captions[:ASKED]
            asked = [data.words_in(caption) for caption in captions]
            drawn = pipeline(prompt=captions, seeds=range(len(captions)), output_type="pt").images * 2 - 1
            real = data.load_many(torch.arange(len(captions)))
            for kind, images in ((each, drawn), (f"{each}, real images", real)):
                share = text_alignment(attributes_as_asked(judge.read(to_uint8(images)), asked), JUDGED)
                found |= {f"text_alignment, {kind}": share} if share is not None else {}
        return found

    return shares


def _store(
    pipeline: "PretrainedPipeline",
    name: str,
    options: argparse.Namespace,
    jobs: "Sequence[Job[Any]]",
    scores: dict[str, float],
) -> None:
    """Write a model and its card whole or not at all; raises `UserError` if all would be too large together."""
    from var.files import atomic_folder, write_text
    from var.hub.cards import card_text
    from var.hub.layout import CARD
    from var.hub.packaged import OWNER
    from var.terms import Terms

    folder = options.output / pipeline.package / "models" / name
    card = replace(
        jobs[-1].card(),
        description=_description(name, options, jobs),
        metrics={key: float(f"{value:.4g}") for key, value in scores.items() if isfinite(value)},
        call=MODELS[name].call,
    )
    pipeline.terms = Terms.of(jobs[-1].data)  # which runs of before were saved without
    with atomic_folder(folder) as temporary:
        pipeline.save_pretrained(temporary)
        write_text(temporary / CARD, card_text(card, type(pipeline), f"{OWNER}/{name}"))
        _check_size(options.output, replaced=folder)
    numbers = sum(weight.numel() for part in pipeline.models().values() for weight in part.parameters())
    print(f"{folder}: {numbers:,} parameters, {_size(folder):,} bytes")


def _description(name: str, options: argparse.Namespace, jobs: "Sequence[Job[Any]]") -> str:
    words = ["python scripts/build_models.py", name, *(f"--set {each}" for each in options.assignments)]
    runs = [(job.kind, job.settings.training) for job in jobs]
    trained = ", ".join(f"{kind} {run.steps:,} steps of {run.batch_size} images, seed {run.seed}" for kind, run in runs)
    told = "Losses and reconstructions are of training images."
    if (settings := jobs[-1].settings.evaluation).every:
        told = (
            f"The scores are those of {settings.samples} samples, drawn as the preset says, against the training "
            "images, in the features of a small classifier that was trained on these; losses and reconstructions are "
            "of held-out ones."
        )
    if MODELS[name].asked:
        told += (
            f" Text alignment is the share of {ASKED} other images, asked for by captions of test images, whose "
            f"{', '.join(JUDGED)} are right to a network that learnt from real images; real test images are read too."
        )
    return (
        f"Comes with next-scale, and is made anew by `{' '.join(words)}`. Trained: {trained}. Stored in bfloat16, it "
        f"computes in float32 unless another type is asked for, and is measured so. {told}"
    )


def _check_size(output: Path, *, replaced: Path) -> None:
    homes = [output / package / "models" for package in ("var", "diffusion_baseline")]
    total = sum(map(_size, homes)) - _size(replaced)
    if total > MOST:
        raise UserError(
            f"the models of both packages must take at most {MOST:,} bytes together, got {total:,} with the new "
            f"{replaced}; make it smaller"
        )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
