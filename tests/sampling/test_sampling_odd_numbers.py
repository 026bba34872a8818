"""What is too long, endless, or without plain values is refused at once, in a line, at every door of numbers."""

from dataclasses import fields
from inspect import signature

import numpy as np
import pytest
import torch
from tiny import tiny_diffusion_pipeline, tiny_pipeline
from tiny_models import one_line

from diffusion_baseline.sampling_settings import SamplingSettings as DiffusionSettings
from var.generation.sampling_settings import SamplingSettings
from var.generation.verifiers import checked_scores
from var.sampling.conditions import resolve_condition
from var.sampling.guidance import Guidance
from var.sampling.numbers import plain
from var.sampling.vectors import count_vectors
from var.typed import MOST_LISTED
from var.vqvae import VQVAEConfig

pytestmark = pytest.mark.usefixtures("_untyped")
QUIET = {"output_type": "pt", "progress": False}
LONG = [range(10**10), range(10**30), np.broadcast_to(np.int64(1), 10**10), torch.ones((), dtype=int).expand(10**10)]


@pytest.fixture(scope="module")
def pipe():
    return tiny_pipeline(sides=(1, 2), depth=1, width=16, heads=2)


@pytest.fixture(scope="module")
def noise():
    return tiny_diffusion_pipeline(timesteps=2)


@pytest.mark.parametrize("values", LONG, ids=["long", "longer", "numpy", "torch"])
def test_lists_that_would_take_all_memory(pipe, noise, values):
    of_at_most = f"must be a list of at most {MOST_LISTED}, got one of 10000000000"
    for name in ("top_k", "temperature", "top_p", "min_p", "smooth", "spatial_guidance", "guidance_scale"):
        with one_line(f"{name} {of_at_most}"):
            pipe(3, **{name: values}, **QUIET)
    with one_line(f"scale {of_at_most}"):
        Guidance(scale=values)
    with one_line(f"prior {of_at_most}"):
        pipe.classify(torch.zeros(1, *pipe.image_shape), prior=values)
    for name in ("prompt", "seeds", "generator", "num_images", "candidates", "guidance_interval", "class_labels"):
        with one_line(".*(at most|expected|must be) "):
            pipe(**{**({} if name == "class_labels" else {"class_labels": 3}), name: values}, **QUIET)
    if isinstance(values, range):
        with one_line(f"sides {of_at_most}"):
            VQVAEConfig(sides=values)
    with one_line("guidance_interval must be a list of 2|guidance_interval must be a list of at most"):
        noise(3, guidance_interval=values, **QUIET)


def test_lists_are_compared_with_the_number_of_images_before_they_are_read(pipe, noise):
    images = torch.zeros(2, *pipe.image_shape)
    with one_line("expected one class label or one for each of 2 images, got 10000000000000000"):
        pipe.log_likelihood(images, range(10**16))
    images = torch.ones(1, *noise.image_shape)
    with one_line("expected a seed for each of 1 images, got 10000000000000000"):
        noise.bits_per_dimension(images, 3, seeds=range(10**16))
    with one_line("expected one generator or one for each of 1 images, got 10000000000000000"):
        noise.bits_per_dimension(images, 3, generator=range(10**16))


def itself():
    values = []
    values.append(values)
    return values


@pytest.mark.parametrize(
    ("vectors", "found"),
    [
        (range(10**12), r"shape \(1000000000000,\)"),
        (range(10**30), r"shape \(1000"),
        ([range(10**12)] * 2, r"shape \(2, 1000000000000\)"),
        ([[1, 2, 3], range(10**12)], r"list \(of different lengths\)"),
        ([1, 2, range(10**12)], r"list \(of different lengths\)"),
        (itself(), r"shape \(1, 1, 1"),
        (torch.zeros(3, device="meta"), "a tensor without values"),
        (torch.zeros(()).expand(10**12), r"shape \(1000000000000,\)"),
    ],
)
def test_vectors_without_end(vectors, found):
    count_vectors(vectors)
    with one_line(r"vectors must be \(3,\), one for all images, or \(2, 3\), one for each of 2, got " + found):
        resolve_condition(None, 2, 0, [1, 2], vectors=vectors, vector_width=3)


def odd_tensors():
    yield torch.ones(3, device="meta")
    yield torch.ones(3).to_sparse()
    yield torch.ones(3, 3).to_sparse_csr()
    yield torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8)
    yield torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)], layout=torch.jagged)


@pytest.mark.filterwarnings("ignore")  # torch's, of sparse, nested and quantized tensors
def test_tensors_without_plain_values(pipe):
    for values in odd_tensors():
        for name in ("top_k", "num_images", "seeds", "guidance_scale", "candidates", "class_labels", "prompt"):
            with one_line(f"{name} must be plain numbers, got a (Nested)?Tensor .*; pass a list"):
                pipe(**{**({} if name == "class_labels" else {"class_labels": 3}), name: values}, **QUIET)
        with one_line("each of class_labels must be plain numbers"):
            pipe([values], **QUIET)
        with one_line("a verifier must give "):
            checked_scores(values, 3)
        with one_line("prior must be plain numbers"):
            pipe.classify(torch.zeros(1, *pipe.image_shape), prior=values)
    quantized = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8)
    with one_line("vectors must be real numbers, got torch.quint8"):
        resolve_condition(None, 2, 0, [1, 2], vectors=quantized, vector_width=3)


def test_plain_values_stay_what_they_are():
    assert plain(torch.arange(3)) == plain(np.arange(3)) == [0, 1, 2]
    assert plain("text") == "text"


MANY_DIGITS = [10**5000, [10**5000], range(10**5000), {10**5000: 1}]


@pytest.mark.parametrize("value", MANY_DIGITS, ids=["int", "list", "range", "dict"])
def test_numbers_of_more_digits_than_python_writes(pipe, noise, value):
    """A message with such a number in it was Python's own ValueError."""
    for each, settings in ((pipe, SamplingSettings), (noise, DiffusionSettings)):
        arguments = {*signature(type(each).__call__).parameters} - {"self", "keywords", "edit", "class_labels"}
        for name in (*arguments, *(field.name for field in fields(settings))):
            with one_line(""):
                each(3, **{**QUIET, name: value})
        for labels in (value, [value]):
            with one_line(""):
                each(labels, **QUIET)
        for sampling in (value, {"guidance_scale": value}):
            with one_line(""):
                each.sampling = sampling
    for name in ("scale", "schedule", "start", "stop", "classifier_scale"):
        with one_line(""):
            Guidance(**{name: value})
    images = torch.ones(1, *noise.image_shape)
    for name in ("levels", "steps", "method", "seeds", "generator"):
        with one_line(""):
            noise.bits_per_dimension(images, 3, **{"method": "ode", name: value})


@pytest.mark.parametrize("levels", [2**16 + 1, 10**19, 10**400])
def test_a_likelihood_has_no_more_levels_than_images(noise, levels):
    with one_line("a likelihood needs 2 levels or more, got .*65536 are the most"):
        noise.bits_per_dimension(torch.ones(1, *noise.image_shape), 3, levels=levels)
