"""A `Condition` from outside is looked at before it is used: what does not fit is refused in a line."""

import warnings

import numpy as np
import pytest
import torch
from tiny import tiny_diffusion_pipeline, tiny_pipeline
from tiny_models import one_line

from var.conditions import WHOLE, Condition

pytestmark = [pytest.mark.usefixtures("_untyped"), pytest.mark.filterwarnings("ignore")]  # torch's, of nested tensors
QUIET = {"output_type": "pt", "progress": False, "seeds": [1, 2]}
LABELS, GIVEN = torch.tensor([1, 2]), torch.ones(2, dtype=torch.bool)
SEQUENCE, MASK = torch.zeros(2, 5, 4), torch.ones(2, 5, dtype=torch.bool)


@pytest.fixture(scope="module", params=[tiny_pipeline, tiny_diffusion_pipeline], ids=["var", "diffusion"])
def pipe(request):
    return request.param()


@pytest.fixture(scope="module")
def reader():
    return tiny_pipeline(sequence_width=4)


def odd(rows):
    with warnings.catch_warnings(action="ignore"):
        nested = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])
    others = [rows.tolist(), rows.numpy(), "ab", 5, rows.float(), rows[None], rows[0], rows.to_sparse(), nested]
    return [*others, rows.to("meta"), np.int64(1), {1, 2}]


@pytest.mark.parametrize("labels", [*odd(LABELS), GIVEN, torch.tensor([1, 2, 3])])
def test_labels_that_are_none(pipe, labels):
    with one_line(r"a condition's labels must be a tensor of int64 \(2,\), got .*; convert it"):
        pipe(Condition(labels, GIVEN), **QUIET)


@pytest.mark.parametrize("given", [*odd(GIVEN), LABELS, None])
def test_given_that_says_nothing(pipe, given):
    with one_line(r"a condition's given must be a tensor of bool \(batch,\), got .*; convert it"):
        pipe(Condition(LABELS, given), **QUIET)


def test_likelihoods_look_too(reader):
    images = torch.zeros(2, *reader.image_shape)
    with one_line("a condition's labels must be"):
        reader.log_likelihood(images, Condition([1, 2], GIVEN))
    with one_line("a condition's given must be"):
        reader.log_likelihood(images, Condition(LABELS, [True, True]))


@pytest.mark.parametrize("dtype", WHOLE)
def test_labels_of_all_whole_types(pipe, dtype):
    out = pipe(Condition(LABELS.to(dtype), GIVEN), **QUIET)
    assert torch.equal(out.images, pipe(Condition(LABELS, GIVEN), **QUIET).images)
    assert out.labels.tolist() == [1, 2]


def test_a_mask_needs_its_sequence(pipe, reader):
    for each in (pipe, reader):
        with one_line("a condition's sequence_mask is that of its sequence, got none; pass both or neither"):
            each(Condition(LABELS, GIVEN, sequence_mask=MASK), **QUIET)


@pytest.mark.parametrize(
    "sequence", [*odd(LABELS), SEQUENCE.to_sparse(), SEQUENCE.to("meta"), SEQUENCE.to(torch.float8_e4m3fn), MASK]
)
def test_sequences_that_are_none(reader, sequence):
    with one_line(r"a sequence must be floats \(2, length, 4\), one for each image, got "):
        reader(Condition(None, GIVEN, sequence=sequence), **QUIET)


@pytest.mark.parametrize("mask", [*odd(GIVEN), MASK.to_sparse(), MASK.to("meta"), MASK.float(), MASK[:1]])
def test_masks_that_are_none(reader, mask):
    with one_line(r"a sequence's mask must be bools \(2, 5\), True where it is no padding, got "):
        reader(Condition(None, GIVEN, sequence=SEQUENCE, sequence_mask=mask), **QUIET)
