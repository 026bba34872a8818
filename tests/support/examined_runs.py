"""Small real runs of both stages on the digits, sound ones and such with a fault planted."""

from dataclasses import replace

import torch

from var.data import digits
from var.data.arrays import ArrayData
from var.generation import VARPipeline
from var.recipes.decoder.job import DecoderJob
from var.recipes.decoder.presets import decoder_run
from var.recipes.transformer.job import TransformerJob
from var.recipes.transformer.presets import transformer_run
from var.recipes.transformer.settings import TokenSettings
from var.recipes.vqvae.job import VQVAEJob
from var.recipes.vqvae.presets import vqvae_run
from var.runs.carrying_out import carry_out
from var.runs.folder import RunFolder
from var.runs.session import Session
from var.runs.settings import EvaluationSettings
from var.tokenizer import Tokenizer
from var.training.distributed import Processes
from var.training.signals import StopSignals

NOT_EVALUATED = EvaluationSettings(every=0)


def carried_out(job, folder):
    """The folder of a run that is finished."""
    session = Session(folder=RunFolder(folder), processes=Processes("cpu"), progress=False, workers=0, trackers=())
    with StopSignals() as signals:
        carry_out(job, session, signals)
    return folder


def tokenizer_run(folder, *, steps=60, seed=0, model=None, **training):
    """A run of stage 1."""
    run = vqvae_run("digits")
    training = replace(run.training, **{"steps": steps, "batch_size": 16, "seed": seed, "log_every": 10, **training})
    settings = replace(
        run,
        vqvae=replace(run.vqvae, **{"base_channels": 8, "norm_groups": 4, "vocabulary": 32, **(model or {})}),
        training=training,
        evaluation=NOT_EVALUATED,
        data=replace(run.data, source="digits"),
    )
    return carried_out(VQVAEJob(settings=settings, data=digits("train")), folder)


def transformer_run_on(tokenizer, folder, *, steps=80, data=None, start=None, told=None, **training):
    """A run of stage 2 on the tokens of the run of stage 1 in the folder `tokenizer`; `told` are settings of it."""
    vqvae = Tokenizer.from_pretrained(tokenizer)
    run = transformer_run("digits")
    training = replace(run.training, **{"steps": steps, "batch_size": 16, "log_every": 10, **training})
    given = {
        "sides": vqvae.config.sides,
        "repeats": vqvae.config.schedule.repeats,
        "vocabulary": vqvae.config.vocabulary,
        "code_width": vqvae.config.width,
    }
    settings = replace(
        run,
        tokens=TokenSettings(temperature=0.15),
        transformer=replace(run.transformer, depth=2, width=32, heads=2, **given),
        training=training,
        evaluation=NOT_EVALUATED,
        data=replace(run.data, source="digits"),
        **(told or {}),
    )
    job = TransformerJob(settings=settings, data=data or digits("train"), vqvae=vqvae, start=start)
    return carried_out(job, folder)


def decoder_run_on(transformer, folder, *, steps=20, **training):
    """A run of stage 3 on what the run of stage 2 in the folder `transformer` draws."""
    start, run = VARPipeline.from_pretrained(transformer), decoder_run("digits")
    training = replace(run.training, **{"steps": steps, "batch_size": 16, "log_every": 5, **training})
    losses = replace(run.losses, patch_channels=4)
    data = replace(run.data, source="digits")
    settings = replace(run, data=data, training=training, losses=losses, samples=100, evaluation=NOT_EVALUATED)
    return carried_out(DecoderJob(settings=settings, data=digits("train"), start=start), folder)


def shuffled_digits():
    """The digits with each other's labels."""
    data = digits("train")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    return ArrayData(data.images, data.labels[order], data.classes, name="digits", layout="channels_first")
