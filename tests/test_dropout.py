"""Dropout: shares and sizes, one mask forward and backward, the library's where ours does not apply."""

import pytest
import torch
from torch import Tensor

from var.dropout import Dropout

COUNT = 2**20


def drawn(p: float, x: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return Dropout(p)(x)


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.9])
def test_a_share_p_is_zero_and_the_rest_grows_so_that_the_mean_stays(p: float) -> None:
    y = drawn(p, torch.ones(COUNT))
    assert (y == 0).double().mean().item() == pytest.approx(p, abs=5 * (p * (1 - p) / COUNT) ** 0.5 + 2**-17)
    assert y.max().item() == pytest.approx(1 / (1 - p), abs=1e-3)
    assert y.unique().numel() == 2


def test_the_probability_is_the_nearest_of_65536_and_the_size_agrees_with_it() -> None:
    dropped = round(0.3 * 2**16)
    assert drawn(0.3, torch.ones(64)).max().item() == pytest.approx(2**16 / (2**16 - dropped))


def test_neighbours_are_drawn_independently() -> None:
    """Four numbers come from one word of 64 bits: any two of eight neighbours are dropped together p^2 of the time."""
    zero = (drawn(0.5, torch.ones(COUNT)) == 0).double().view(-1, 8)
    together = zero.mT @ zero / len(zero)
    expected = torch.full((8, 8), 0.25).fill_diagonal_(0.5).double()
    assert (together - expected).abs().max().item() < 5 * 0.5 / len(zero) ** 0.5


def test_the_gradient_has_the_mask_of_the_output() -> None:
    x = torch.full((3, 5), 2.0, requires_grad=True)
    y = drawn(0.4, x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach() / 2)


def test_a_seed_names_a_mask() -> None:
    x = torch.ones(2, 3, 7)
    assert torch.equal(drawn(0.5, x, 1), drawn(0.5, x, 1))
    assert not torch.equal(drawn(0.5, x, 1), drawn(0.5, x, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (3, 5, 7)])
def test_shape_and_type_stay(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    y = drawn(0.2, torch.ones(shape, dtype=dtype))
    assert y.shape == shape
    assert y.dtype == dtype


def test_outside_training_and_at_0_nothing_happens_and_at_1_all_is_zero() -> None:
    x = torch.randn(4, 4)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert torch.equal(Dropout(1.0)(x), torch.zeros(4, 4))


def test_what_does_not_lie_in_order_is_dropped_by_the_library() -> None:
    x = torch.ones(64, 32).mT
    torch.manual_seed(3)
    expected = torch.nn.functional.dropout(x, 0.5)
    assert torch.equal(drawn(0.5, x, 3), expected)
