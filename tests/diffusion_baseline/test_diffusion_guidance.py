"""Guidance: 1 is the conditional model, 0 the unconditional one, and one call does the work of two."""

import pytest
import torch

from diffusion_baseline.guidance import guided, guided_in_one_call
from var.conditions import Condition


def cond(x, t):
    return 2 * x + t[:, None]


def null(x, t):
    return x - 1


class Network:
    """Depends on everything; remembers the batches that it was called with."""

    def __init__(self):
        self.batches = []

    def __call__(self, x, t, condition):
        self.batches.append(len(x))
        return x.sin() * (condition.labels.masked_fill(~condition.given, 9)[:, None] + 1) + t[:, None]


X, T, SHOWN = torch.linspace(-1, 1, 6).view(3, 2), torch.tensor([3, 1, 2]), Condition.of(torch.tensor([0, 4, 2]))


def test_one_is_the_conditional_and_zero_the_unconditional_denoiser():
    assert guided(cond, null, 1) is cond
    assert guided(cond, null, 1.0) is cond
    assert guided(cond, null, 0.0) is null


@pytest.mark.parametrize("scale", [-0.5, 0.3, 1.5, 4.0])
def test_between_and_beyond_is_the_line_through_both(scale):
    expected = null(X, T) + scale * (cond(X, T) - null(X, T))
    torch.testing.assert_close(guided(cond, null, scale)(X, T), expected)


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 1.5, 4.0])
def test_one_call_equals_two(scale):
    network = Network()
    nothing = Condition.of(torch.full((3,), 9))
    two = guided(lambda x, t: network(x, t, SHOWN), lambda x, t: network(x, t, nothing), scale)
    torch.testing.assert_close(guided_in_one_call(network, SHOWN, scale)(X, T), two(X, T))


@pytest.mark.parametrize(("scale", "batch"), [(0.0, 3), (1.0, 3), (1.5, 6)])
def test_the_network_is_called_once_and_only_for_what_counts(scale, batch):
    network = Network()
    guided_in_one_call(network, SHOWN, scale)(X, T)
    assert network.batches == [batch]
