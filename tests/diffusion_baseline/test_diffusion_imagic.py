"""Imagic learns an image by what the network is told and by the network, and goes from it to what is asked for."""

import pytest
import torch
from tiny import spread, tiny_diffusion_pipeline, tiny_unet

from diffusion_baseline import DiffusionPipeline
from diffusion_baseline.imagic import ImagicSettings, Told, imagic
from var.conditions import ClassEmbedding, Condition
from var.errors import UserError

QUIET = {"output_type": "pt", "progress": False, "num_inference_steps": 3, "guidance_scale": 1}
FEW = ImagicSettings(embedding_steps=2, network_steps=2, batch_size=4)


@pytest.fixture(scope="module")
def pipe():
    return tiny_diffusion_pipeline(["ant", "bee", "cat", "dog", "eel"], timesteps=10)


def picture():
    """A bright square on a dark ground, in [-1, 1]."""
    image = torch.full((1, 1, 4, 8), -0.8)
    image[..., 1:3, 2:5] = 0.9
    return image


def test_an_image_is_learned_and_left_again(pipe):
    before = {name: part.clone() for name, part in pipe.unet.state_dict().items()}
    settings = ImagicSettings(embedding_steps=10, embedding_lr=0.1, network_steps=60, network_lr=1e-2, batch_size=8)
    edit = imagic(pipe, picture(), "cat", settings=settings, progress=False)
    errors = []
    for eta in (0, 0.5, 1):
        out = edit(eta, seeds=[1, 2, 3], **QUIET)
        assert out.labels.tolist() == [2] * 3
        errors.append((2 * out.images - 1 - picture()).pow(2).mean().item())
    drawn = 2 * pipe("cat", seeds=[1, 2, 3], **QUIET).images - 1
    start = (drawn - picture()).pow(2).mean().item()
    assert errors[0] < 0.2 * start  # the image is found in other noise than that of the training
    assert errors[0] < errors[1] < errors[2]
    assert all(torch.equal(part, before[name]) for name, part in pipe.unet.state_dict().items())
    assert all(part.requires_grad for part in pipe.unet.parameters())


def test_only_what_is_told_moves_where_the_network_stays(pipe):
    settings = ImagicSettings(embedding_steps=5, network_steps=0, embedding_lr=0.1)
    edit = imagic(pipe, picture(), 2, settings=settings, progress=False)
    call = {"seeds": [1, 2], **QUIET}
    # At 1 the network is told what it was before.
    assert torch.equal(edit(1, **call).images, pipe([2, 2], **call).images)
    assert not torch.allclose(edit(0, **call).images, edit(1, **call).images, atol=1e-3)
    # Guidance is away from nothing as it was before.
    call["guidance_scale"] = 0
    assert torch.equal(edit(0.3, **call).images, pipe([2, 2], **call).images)


def test_equal_settings_give_the_same(pipe):
    first, second = (
        imagic(pipe, picture(), 1, settings=FEW, progress=False)(0, 2, seeds=[4, 5], **QUIET) for _ in "ab"
    )
    assert torch.equal(first.images, second.images)
    other = ImagicSettings(embedding_steps=2, network_steps=2, batch_size=4, seed=1)
    assert not torch.equal(
        imagic(pipe, picture(), 1, settings=other, progress=False)(0, seeds=[4, 5], **QUIET).images, first.images
    )


def test_vectors_and_sequences_are_conditions_too():
    torch.manual_seed(0)
    size = {"num_classes": 0, "vector_width": 3, "sequence_width": 6, "attention_levels": (1,), "head_width": 8}
    pipe = DiffusionPipeline(spread(tiny_unet(**size)), num_timesteps=10)
    asked = Condition(None, torch.ones(1, dtype=torch.bool), vectors=torch.ones(1, 3), sequence=torch.randn(1, 5, 6))
    told = ImagicSettings(embedding_steps=3, network_steps=0, batch_size=4)
    edit = imagic(pipe, picture(), asked, settings=told, progress=False)
    expected = pipe(asked, seeds=[1], **QUIET).images
    assert torch.equal(edit(1, seeds=[1], **QUIET).images, expected)
    assert not torch.allclose(edit(0, seeds=[1], **QUIET).images, expected, atol=1e-4)
    assert all(
        not torch.equal(mine, target) for mine, target in zip(edit.told.optimised, edit.told.target, strict=True)
    )


def test_what_is_told_lies_between():
    told = Told(ClassEmbedding(3, 4), Condition.of(torch.tensor([1])))
    with torch.no_grad():
        told.optimised[0].add_(1)
    told.mix(0.25)
    asked = Condition.of(torch.tensor([0, 2])).with_null()
    expected = torch.cat([(told.embedding.weight[1] + 0.75).expand(2, -1), told.embedding.weight[[3, 3]]])
    torch.testing.assert_close(told(asked), expected)


def test_a_bar_is_shown_unless_it_is_turned_off(pipe, capsys):
    imagic(pipe, picture(), 1, settings=FEW, progress=False)
    assert capsys.readouterr().err == ""
    imagic(pipe, picture(), 1, settings=FEW)
    assert "imagic" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"image": picture().expand(2, -1, -1, -1)}, "a network learns one image, got 2; call for each of them"),
        ({"image": picture()[..., :6]}, "images must be 4x8 .height x width., got 4x6"),
        ({"class_labels": None}, "an image changes towards what it is asked to show, got nothing; pass class_labels"),
        ({"class_labels": 9}, r"class labels must lie in \[0, 5\), got 9"),
        ({"vectors": [1.0]}, "the model takes class labels below 5 and no vectors, got vectors"),
    ],
)
def test_wrong_calls_are_refused(pipe, call, message):
    with pytest.raises(UserError, match=message):
        imagic(pipe, **{"image": picture(), "class_labels": 1, "settings": FEW, "progress": False, **call})


def test_wrong_settings_are_refused(pipe):
    for wrong in (
        {"embedding_steps": -1},
        {"batch_size": 0},
        {"network_lr": 0.0},
        {"seed": -1},
        {"network_steps": 1.5},
    ):
        with pytest.raises(UserError, match=next(iter(wrong))):
            ImagicSettings(**wrong)
    edit = imagic(pipe, picture(), 1, settings=FEW, progress=False)
    for eta in (-0.1, 1.1, float("nan")):
        with pytest.raises(UserError, match="eta must"):
            edit(eta, **QUIET)
    wild = ImagicSettings(embedding_steps=3, embedding_lr=1e30, batch_size=2)
    with pytest.raises(UserError, match="an image is learned by finite losses, got NaN or infinite ones; lower emb"):
        imagic(pipe, picture(), 1, settings=wild, progress=False)
