"""Short trainings on images that show vectors and sequences, alone or as one of two processes."""

import json
import os
from pathlib import Path

import torch
from tiny import tiny_transformer, tiny_unet, tiny_vqvae

from diffusion_baseline import DiffusionPipeline
from diffusion_baseline.task import DiffusionTask
from var.data import ArrayData, WithVectors
from var.recipes.transformer.task import TransformerTask
from var.training import TrainingConfig, train

COUNT, WIDTH = 24, 6
UNET = {"num_classes": 5, "image_size": 6, "multipliers": (1,), "vector_width": WIDTH}


def some_images():
    generator = torch.Generator().manual_seed(0)
    return ArrayData(torch.rand(COUNT, 1, 6, 6, generator=generator) * 2 - 1, torch.arange(COUNT) % 5)


def some_vectors():
    return torch.randn(COUNT, WIDTH, generator=torch.Generator().manual_seed(1))


def some_sequences():
    """Of 0 to 4 parts each, with padding."""
    parts = torch.randn(COUNT, 7, WIDTH, generator=torch.Generator().manual_seed(2)).half()
    return {"sequence": parts, "sequence_mask": torch.arange(7) < torch.arange(COUNT)[:, None] % 5}


def transformer_task(label_drop=0.5, cache=None, **changes):
    torch.manual_seed(0)
    model = tiny_transformer(**{"vector_width": WIDTH, **changes})
    return TransformerTask(model, tiny_vqvae(), label_drop=label_drop, cache=cache)


def diffusion_task(label_drop=0.5, **changes):
    torch.manual_seed(0)
    pipe = DiffusionPipeline(tiny_unet(**UNET | changes), num_timesteps=8)
    return DiffusionTask(pipe, label_drop=label_drop)


ATTENDING = {
    "transformer": {"sequence_width": WIDTH},
    "diffusion": {"sequence_width": WIDTH, "attention_levels": (0,), "head_width": 8},
}
TASKS = {"transformer": transformer_task, "diffusion": diffusion_task}
WAYS = {
    "ddp": ("transformer", "none"),
    "fsdp": ("transformer", "fsdp"),
    "ddp of a network": ("diffusion", "none"),
    "fsdp of a network": ("diffusion", "fsdp"),
}


def losses(kind, **settings):
    """The loss of every step, of models that are told all that images can show."""
    config = TrainingConfig(steps=3, batch_size=8, log_every=1, learning_rate=1e-2, **settings)
    data = WithVectors(some_images(), some_vectors(), **some_sequences())
    task = TASKS[kind](**ATTENDING[kind])
    return [row["loss"] for row in train(task, data, config, progress=False, device="cpu").history]


def train_as_one_of_two(folder):
    """Write the losses of all ways, as this process knows them."""
    found = {name: losses(kind, sharding=sharding) for name, (kind, sharding) in WAYS.items()}
    Path(folder, f"losses-{os.environ['RANK']}.json").write_text(json.dumps(found))
