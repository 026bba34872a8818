"""Muon: its directions, the length of its steps, and torch's own Muon beside it."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from var.training.muon import Muon, muon_flops, orthogonalized


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def muon(*weights, lr=0.1, momentum=0.0, weight_decay=0.0):
    return Muon([{"params": list(weights), "weight_decay": weight_decay}], lr=lr, momentum=momentum)


def root_mean_square(tensor):
    return tensor.square().mean().sqrt().item()


@pytest.mark.parametrize("shape", [(3, 8, 20), (2, 20, 8), (1, 6, 6), (4, 1, 5)])
def test_all_directions_become_about_equally_strong(shape):
    strengths = torch.linspace(0, -2, min(shape[1:])).double()
    left, _, right = torch.linalg.svd(drawn(*shape).double(), full_matrices=False)
    turned = torch.stack(orthogonalized(list(left * 10**strengths @ right)))
    # The directions themselves are kept: U^T (U P V^T) V is diagonal.
    values = left.mT @ turned @ right.mT
    diagonal = values.diagonal(dim1=1, dim2=2)
    assert diagonal.min() > 0.6
    assert diagonal.max() < 1.25
    torch.testing.assert_close(values, torch.diag_embed(diagonal))


def test_a_matrix_counts_by_its_direction_only_and_zero_stays_zero():
    matrix = drawn(5, 9)
    torch.testing.assert_close(orthogonalized([matrix]), orthogonalized([1e-12 * matrix]))
    assert not orthogonalized([torch.zeros(4, 4)])[0].any()


def test_a_direction_of_no_strength_stays_without():
    matrix = drawn(8, 2).double() @ drawn(2, 12).double()
    values = torch.linalg.svdvals(orthogonalized([matrix])[0])
    assert values[:2].min() > 0.6
    assert values[2:].max() < 1e-6


def test_products_of_small_matrices_are_the_published_iteration():
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix = drawn(6, 30).double()
    x = x / x.norm()
    for _ in range(5):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    torch.testing.assert_close(orthogonalized([matrix])[0], x)


def test_a_step_is_as_long_as_one_of_adamw():
    weight = nn.Parameter(torch.zeros(64, 32, 3, 3))
    weight.grad = drawn(64, 32, 3, 3)
    muon(weight).step()
    assert root_mean_square(weight.detach()) == pytest.approx(0.2 * 0.1, rel=0.2)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("gradient_layout", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_moves_like_the_matrix_that_it_is_in_any_memory_layout(layout, gradient_layout):
    start, gradient = drawn(8, 4, 3, 3), drawn(2, 8, 4, 3, 3)[1]
    matrix = nn.Parameter(start.flatten(1))
    matrix.grad = gradient.flatten(1)
    weight = nn.Parameter(start.to(memory_format=layout))
    weight.grad = gradient.to(memory_format=gradient_layout)
    for parameter in (matrix, weight):
        muon(parameter).step()
    torch.testing.assert_close(weight.detach().flatten(1), matrix.detach())


def test_weights_decay_by_the_rate_and_rest_where_there_is_no_gradient():
    still, pulled = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(2, 3))
    pulled.grad = torch.zeros(2, 3)
    muon(still, pulled, weight_decay=0.5).step()
    assert torch.equal(still, torch.ones(2, 3))
    torch.testing.assert_close(pulled.detach(), torch.full((2, 3), 0.95))


def test_matrices_of_any_shapes_move_like_each_alone():
    gradients = [drawn(*shape) for shape in ((3, 5), (7, 3), (3, 3), (3, 5), (4, 2, 3, 3))]
    together = [nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for weight, gradient in zip(together, gradients, strict=True):
        weight.grad = gradient.clone()
    muon(*together).step()
    for weight, gradient in zip(together, gradients, strict=True):
        alone = nn.Parameter(torch.zeros_like(gradient))
        alone.grad = gradient.clone()
        muon(alone).step()
        torch.testing.assert_close(weight.detach(), alone.detach())


@pytest.mark.parametrize("shape", [(12, 30), (30, 12)])
def test_several_steps_are_those_of_torch_up_to_its_precision(shape):
    ours, theirs = (nn.Parameter(drawn(*shape)) for _ in range(2))
    settings = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}
    one = muon(ours, **settings)
    other = torch.optim.Muon([theirs], **settings, adjust_lr_fn="match_rms_adamw")
    for seed in range(4):
        gradient = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        one.step()
        other.step()
    # It multiplies in bfloat16.
    assert root_mean_square((ours - theirs).detach()) < 0.03 * root_mean_square((ours - drawn(*shape)).detach())


def test_operations_are_those_that_are_done():
    weights = [nn.Parameter(drawn(*shape)) for shape in ((6, 4), (5, 8), (5, 2, 3, 3), (5, 8))]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    with FlopCounterMode(display=False) as counter:
        muon(*weights).step()
    assert muon_flops(weights) == counter.get_total_flops()
