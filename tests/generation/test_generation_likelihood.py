"""Likelihoods by scale and unit, and Bayes' rule, against the teacher-forced pass and in the digits' own model."""

import math

import pytest
import torch
from tiny import tiny_pipeline

from var import VARPipeline
from var.data import digits
from var.errors import UserError
from var.generation import likelihood
from var.images import Signed, from_uint8, to_uint8


def images(count=3):
    return 2 * torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(1)) - 1


@pytest.fixture(scope="module")
def trained():
    return VARPipeline.from_pretrained("next-scale/digits")


@torch.no_grad()
def test_scales_add_up_in_either_unit(pipe):
    labels = [1, 2, 3]
    found = pipe.log_likelihood(images(), labels, per_scale=True)
    token_maps = pipe.vqvae.encode(images())
    logits = pipe.transformer(torch.tensor(labels), pipe.vqvae.teacher_inputs(token_maps)).log_softmax(-1)
    nats = logits.gather(-1, pipe.vqvae.scales.flatten(token_maps)[..., None])[..., 0]
    expected = torch.stack([nats[:, where].sum(1) for where in pipe.vqvae.scales.slices()], dim=1)
    torch.testing.assert_close(found, expected)
    assert torch.equal(found.sum(1), pipe.log_likelihood(images(), labels))
    bits = pipe.log_likelihood(images(), labels, per_scale=True, unit="bits")
    torch.testing.assert_close(bits * math.log(2), found)


def test_images_are_read_as_edits_read_them(pipe):
    """Those that a call gives, as tensors in [0, 1], were taken to lie in [-1, 1], and have other numbers."""
    call = {"seeds": [1, 2], "progress": False}
    pictures, shares = (pipe([1, 2], output_type=kind, **call).images for kind in ("pil", "pt"))
    levels = to_uint8(2 * shares - 1)
    array = levels.permute(0, 2, 3, 1).numpy()
    expected = pipe.log_likelihood(from_uint8(levels), [1, 2])
    forms = (pictures, [each.convert("RGB") for each in pictures], levels, levels / 255, array, array / 255)
    for given in forms:
        torch.testing.assert_close(pipe.log_likelihood(given, [1, 2]), expected)
        torch.testing.assert_close(pipe.classify(given), pipe.classify(from_uint8(levels)))
    for given in (pictures[0], array[0]):
        torch.testing.assert_close(pipe.log_likelihood(given, 1), expected[:1])


def test_bright_images_are_not_guessed_where_their_range_is_known(pipe):
    bright = images().abs()
    expected = pipe.log_likelihood(bright / 2 + 0.5, [1, 2, 3])  # the same images in [0, 1]
    torch.testing.assert_close(pipe.log_likelihood(Signed(bright), [1, 2, 3]), expected)
    assert not torch.allclose(pipe.log_likelihood(bright, [1, 2, 3]), expected)
    torch.testing.assert_close(pipe.classify(Signed(bright)), pipe.classify(bright / 2 + 0.5))
    assert torch.equal(pipe.log_likelihood(Signed(images())), pipe.log_likelihood(images()))


def test_all_images_have_the_probability_1():
    """Over all token maps of a model with a vocabulary so small that they can be listed."""
    pipe = tiny_pipeline(((1, 1), (1, 2)))
    tokens = torch.cartesian_prod(*[torch.arange(16)] * 3)
    token_maps = pipe.vqvae.scales.split(tokens)
    condition = pipe._condition(3, None, None, len(tokens), [0] * len(tokens))
    found = likelihood._by_scale(pipe.transformer, condition, pipe.vqvae.inputs(token_maps), tokens).sum(1)
    torch.testing.assert_close(found.double().logsumexp(0), torch.zeros((), dtype=torch.float64), atol=1e-4, rtol=0)


def test_the_posterior_is_bayes(pipe, monkeypatch):
    joint = torch.stack([pipe.log_likelihood(images(), label) for label in range(5)], dim=1)
    torch.testing.assert_close(pipe.classify(images()), joint.log_softmax(1))
    prior = [0.5, 0.25, 0.25, 0, 0]
    found = pipe.classify(images(), prior=prior)
    torch.testing.assert_close(found, (joint + torch.tensor(prior).log()).log_softmax(1))
    torch.testing.assert_close(found.exp().sum(1), torch.ones(3))
    torch.testing.assert_close(pipe.classify(images(), prior=torch.full((5,), 0.2)), joint.log_softmax(1))
    encodings = []
    encode = pipe.vqvae.encode
    monkeypatch.setattr(pipe.vqvae, "encode", lambda images: encodings.append(len(images)) or encode(images))
    rows = []
    handle = pipe.transformer.head.register_forward_hook(lambda module, args, output: rows.append(len(output)))
    monkeypatch.setattr(likelihood, "MOST_LOGITS", 2 * 14 * 16)
    torch.testing.assert_close(pipe.classify(images(5))[:3], joint.log_softmax(1))
    handle.remove()
    assert encodings == [5]  # once, and not for every class
    assert rows == [2, 2, 1] * 5


def test_the_digits_model_classifies(trained):
    test = digits("test")
    some = slice(0, 100)
    found = trained.classify(test.images[some]).argmax(1)
    assert (found == test.labels[some]).float().mean() >= 0.95


def test_other_images_are_less_probable(trained):
    test = digits("test")
    inputs, labels = test.images[:24], test.labels[:24]
    own = trained.log_likelihood(inputs, labels)
    places = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    for others in (-inputs, inputs.flatten(2)[..., places].view_as(inputs)):
        found = trained.log_likelihood(others, labels)
        assert (own > found).float().mean() > 0.95
        assert (own - found).mean() > 30


@pytest.mark.usefixtures("_untyped")
@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ([0.5, 0.5], "prior must be 5 probabilities with the sum 1, got 2 with the sum 1 from 0.5 on; leave it out"),
        ([1, 1, 0, 0, -1], "prior must be 5 probabilities with the sum 1, got 5 with the sum 1 from -1 on"),
        ([1, 1, 1, 1, 1], "prior must be 5 probabilities with the sum 1, got 5 with the sum 5"),
        ([math.nan] * 5, "prior must be "),
        ("even", "prior must be "),
        ([], "prior must be 5 prob.* got 0 "),
    ],
)
def test_a_prior_that_is_none(pipe, prior, message):
    with pytest.raises(UserError, match=message) as caught:
        pipe.classify(images(), prior=prior)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("_untyped")
def test_impossible_requests(pipe):
    with pytest.raises(UserError, match="unknown unit 'bit'; did you mean 'bits'"):
        pipe.log_likelihood(images(), unit="bit")
    with pytest.raises(UserError, match="per_scale must be True or False"):
        pipe.log_likelihood(images(), per_scale="yes")
    with pytest.raises(UserError, match="images must be 6x6"):
        pipe.classify(torch.zeros(1, 1, 8, 8))
    for ask in (pipe.classify, pipe.log_likelihood):
        with pytest.raises(UserError, match="a likelihood is that of at least one image, got none; pass some"):
            ask(images()[:0])
    vectors = tiny_pipeline(vector_width=3)
    with pytest.raises(UserError, match="images are classified by a model of class labels alone, got one of other"):
        vectors.classify(images())


def test_two_transformers_have_none(pipe):
    both = VARPipeline.collaborate(pipe, pipe, handover=1)
    for ask in (both.log_likelihood, both.classify):
        with pytest.raises(UserError, match="a likelihood is that of one transformer, got a pipeline of two; ask the"):
            ask(images())
