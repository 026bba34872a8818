"""What compilation, distributed training and others put around or into a model: left out when saved, or refused."""

import copy

import pytest
import torch
from tiny import tiny_diffusion_pipeline, tiny_pipeline
from tiny_models import Tiny, TinyConfig, assert_same_weights, one_line
from torch import nn
from torch.nn.utils import parametrizations, prune

from diffusion_baseline import DiffusionPipeline
from var import VAR, VARPipeline
from var.hub import save_model


def around(wrap):
    def change(pipe):
        pipe.transformer = wrap(pipe.transformer)

    return change


def inside(pipe):
    pipe.transformer.blocks[0] = torch.compile(pipe.transformer.blocks[0])
    pipe.transformer.head = nn.DataParallel(torch.compile(pipe.transformer.head))
    pipe.vqvae.decoder = nn.DataParallel(pipe.vqvae.decoder)


WRAPPED = {
    "compiled": around(torch.compile),
    "parallel": around(nn.DataParallel),
    "both": around(lambda model: nn.DataParallel(torch.compile(model))),
    "averaged": around(torch.optim.swa_utils.AveragedModel),
    "inside": inside,
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrappers_are_left_out(name, tmp_path):
    pipe = tiny_pipeline()
    vqvae, transformer = copy.deepcopy(pipe.vqvae), copy.deepcopy(pipe.transformer)
    WRAPPED[name](pipe)
    pipe.save_pretrained(tmp_path / "pipe", max_shard_size=20000)
    save_model(pipe.transformer, tmp_path / "alone")
    back = VARPipeline.from_pretrained(tmp_path / "pipe")
    assert_same_weights(back.transformer, transformer)
    assert_same_weights(back.vqvae, vqvae)
    assert_same_weights(VAR.from_pretrained(tmp_path / "alone"), transformer)


def test_the_network_of_a_diffusion_pipeline_may_be_wrapped(tmp_path):
    pipe = tiny_diffusion_pipeline()
    network = copy.deepcopy(pipe.unet)
    pipe.unet = nn.DataParallel(pipe.unet)
    pipe.save_pretrained(tmp_path)
    assert_same_weights(DiffusionPipeline.from_pretrained(tmp_path).unet, network)


def adapted(pipe):
    pipe.transformer.head.lora_down = nn.Parameter(torch.zeros(2, 2))


def replaced_by(layer):
    def change(pipe):
        pipe.transformer.head = layer

    return change


def nan(pipe):
    pipe.transformer.head.weight.data[0, 0] = float("nan")


EXACTLY = "VAR must hold exactly the weights that its config says, or it could not be loaded, but: "
CHANGED = {
    "normalised": (
        lambda pipe: parametrizations.weight_norm(pipe.transformer.head),
        EXACTLY + "missing head.weight, unex",
    ),
    "spectral": (lambda pipe: parametrizations.spectral_norm(pipe.transformer.head), EXACTLY + "missing head.weight"),
    "pruned": (
        lambda pipe: prune.l1_unstructured(pipe.transformer.head, "weight", 0.5),
        EXACTLY + "missing head.weight",
    ),
    "adapted": (adapted, EXACTLY + "unexpected head.lora_down; merge or remove"),
    "buffer": (lambda pipe: pipe.transformer.register_buffer("more", torch.zeros(1)), EXACTLY + "unexpected more"),
    "resized": (replaced_by(nn.Linear(32, 17)), EXACTLY + r"head.weight has shape \(17, 32\) instead of \(16, 32\)"),
    "sequence": (around(nn.Sequential), "what is saved must be VAR, which can be loaded again, got Sequential"),
    "other": (around(lambda model: nn.Linear(2, 2)), "what is saved must be VAR, .*, got Linear"),
    "none": (around(lambda model: None), "what is saved must be VAR, .*, got NoneType"),
    "nan": (nan, "the weights of VAR must be finite, but head.weight holds NaN or infinity; save earlier ones"),
    "meta": (lambda pipe: pipe.transformer.to("meta"), "the weights of VAR must have values, but start is on the meta"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_could_not_be_loaded_again_is_refused(name, tmp_path):
    change, message = CHANGED[name]
    good = tiny_pipeline()
    good.save_pretrained(tmp_path / "old")
    pipe = tiny_pipeline()
    change(pipe)
    for place in ("new", "old"):
        with one_line(message):
            pipe.save_pretrained(tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert_same_weights(VARPipeline.from_pretrained(tmp_path / "old").transformer, good.transformer)


class Sharded(torch.Tensor):
    """Stands for the tensors of distributed training, which hold a part of the whole."""


def test_a_part_of_a_tensor_is_no_weight(tmp_path):
    model = Tiny(TinyConfig(width=3))
    model.count = model.count.as_subclass(Sharded)
    with one_line("the weights of Tiny must be whole, plain tensors, got Sharded as count; gather them first"):
        model.save_pretrained(tmp_path / "new")


def test_a_config_that_does_not_fit_the_weights_is_refused(tmp_path):
    model = Tiny(TinyConfig(width=3))
    model.config = TinyConfig(width=4)
    with one_line("Tiny must hold exactly the weights that its config says, .*inner.weight has shape"):
        model.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()
