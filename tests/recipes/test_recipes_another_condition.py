"""A kind of condition from outside: a point beside the class, from the data through training into images.

It takes four subclasses: the condition, the data that say it, the embedding that reads it, and models with that
embedding.
"""

from dataclasses import dataclass

import pytest
import torch
from tiny import tiny_pipeline

from diffusion_baseline import DiffusionPipeline, UNet, UNetConfig
from diffusion_baseline.task import DiffusionTask
from var import VAR, VARPipeline
from var.conditions import ClassEmbedding, Condition
from var.data import ArrayData
from var.data.batches import batches
from var.recipes.transformer.task import TransformerTask
from var.training import TrainingConfig, train

QUIET = {"output_type": "pt", "progress": False, "seeds": [0, 1, 2]}


@dataclass(frozen=True)
class Pointed(Condition):
    point: torch.Tensor  # (batch, 2)


class PointedData(ArrayData):
    def condition(self, indices):
        labels = self.labels[indices]
        return Pointed(labels, torch.ones_like(labels, dtype=torch.bool), self.images[indices, 0, 0, :2])


class PointEmbedding(ClassEmbedding):
    def __init__(self, num_classes, width):
        super().__init__(num_classes, width)
        self.point = torch.nn.Linear(2, width)

    def forward(self, condition):
        return super().forward(condition) + self.point(condition.point) * condition.given[:, None]


class PointedVAR(VAR):
    def __init__(self, config):
        super().__init__(config)
        self.class_embedding = PointEmbedding(config.num_classes, config.width)


class PointedUNet(UNet):
    def __init__(self, config):
        super().__init__(config)
        self.label = PointEmbedding(config.num_classes, config.embedding_width)


@pytest.fixture(scope="module")
def data():
    images = torch.rand(24, 1, 6, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return PointedData(images, torch.arange(24) % 5)


def learn(task, data):
    """Three steps; every weight of the embedding must move."""
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    train(task, data, TrainingConfig(steps=3, batch_size=8, seed=0, accumulation=2), progress=False, device="cpu")
    after = task.model.state_dict()
    assert all(not torch.equal(before[name], after[name]) for name in before if "point" in name)
    assert sum("point" in name for name in before) == 2


def check_generation(pipe):
    """The point matters, each image has its own, and it is forgotten where nothing is asked for."""
    labels, given = torch.tensor([1, 1, 4]), torch.tensor([True, True, True])
    near, far = (Pointed(labels, given, torch.full((3, 2), value)) for value in (0.0, 9.0))
    out, other = pipe(near, **QUIET), pipe(far, **QUIET)
    assert out.labels.tolist() == [1, 1, 4]
    assert not torch.equal(out.images, other.images)
    mixed = Pointed(labels, given, torch.cat((near.point[:1], far.point[1:])))
    images = pipe(mixed, **QUIET).images
    torch.testing.assert_close(images, torch.cat((out.images[:1], other.images[1:])), atol=1e-5, rtol=1e-5)
    assert torch.equal(pipe(near.null(), **QUIET).images, pipe(far.null(), **QUIET).images)


def test_batches_carry_it(data):
    batch = next(batches(data, 8, seed=0))
    assert isinstance(batch.condition, Pointed)
    assert torch.equal(batch.condition.point, data.images[batch.indices, 0, 0, :2])
    assert [part.condition.point.shape for part in batch.split(4)] == [(2, 2)] * 4


def test_the_transformer_learns_and_shows_it(data):
    plain = tiny_pipeline()
    torch.manual_seed(0)
    model = PointedVAR(plain.transformer.config)
    learn(TransformerTask(model, plain.vqvae), data)
    with torch.no_grad():
        for parameter in model.parameters():  # away from the start, where conditions matter little
            parameter.add_(0.2 * torch.randn_like(parameter))
    pipe = VARPipeline(plain.vqvae, model)
    check_generation(pipe)
    images, shown = data.images[:3], data.condition(torch.arange(3))
    assert not torch.equal(pipe.log_likelihood(images, shown), pipe.log_likelihood(images, shown.null()))


def test_the_diffusion_baseline_learns_and_shows_it(data):
    config = {"base_channels": 8, "multipliers": (1,), "residual_blocks": 1, "attention_levels": (), "norm_groups": 4}
    torch.manual_seed(0)
    unet = PointedUNet(UNetConfig(num_classes=5, image_size=6, image_channels=1, embedding_width=16, **config))
    pipe = DiffusionPipeline(unet, num_timesteps=8)
    learn(DiffusionTask(pipe), data)
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    check_generation(pipe)
