"""A batch in pieces: the same as at once, divided evenly, and whole where it is small or on another device.

In float64: how a CPU adds in float32 depends on its kind and on the size of the batch.
"""

import pytest
import torch
from tiny import spread, tiny_unet

from diffusion_baseline import pieces
from diffusion_baseline.pieces import in_pieces
from var.conditions import Condition


@pytest.fixture
def network():
    torch.manual_seed(0)
    return spread(tiny_unet()).eval().double()


@pytest.fixture
def asked(network):
    """Seven images, their timesteps and what they show; nothing in one of them."""
    torch.manual_seed(1)
    config = network.config
    x = torch.randn(7, config.image_channels, *config.size, dtype=torch.float64)
    given = torch.arange(7) != 3
    return x, torch.arange(7), Condition(torch.arange(7) % config.num_classes, given)


def sizes(network):
    """The batches that the network is called with, as they come."""
    seen = []
    network.register_forward_pre_hook(lambda _, arguments: seen.append(len(arguments[0])))
    return seen


@pytest.mark.parametrize(("images", "expected"), [(7, [7]), (6, [4, 3]), (3, [3, 3, 1]), (0, [1] * 7)])
def test_a_batch_is_divided_evenly_and_nothing_else_changes(network, asked, monkeypatch, images, expected):
    whole = network(*asked)
    maps = 4 * network.config.base_channels * asked[0][0, 0].numel()
    monkeypatch.setattr(pieces, "CACHED", images * maps)
    seen = sizes(network)
    with torch.no_grad():
        assert torch.allclose(in_pieces(network)(*asked), whole, rtol=0, atol=1e-12)
    assert seen == expected


def test_a_call_that_is_told_spans_divides_them_too(monkeypatch):
    torch.manual_seed(0)
    network = spread(tiny_unet(interval=True)).eval().double()
    x = torch.randn(4, network.config.image_channels, *network.config.size, dtype=torch.float64)
    told = torch.arange(4), Condition.of(torch.zeros(4, dtype=torch.long)), torch.arange(4)
    with torch.no_grad():
        whole = network(x, *told)
        monkeypatch.setattr(pieces, "CACHED", 1)
        assert torch.allclose(in_pieces(network)(x, *told), whole, rtol=0, atol=1e-12)


def test_gradients_pass(network, asked, monkeypatch):
    monkeypatch.setattr(pieces, "CACHED", 1)
    x = asked[0].requires_grad_()
    (whole,) = torch.autograd.grad(network(x, *asked[1:]).square().sum(), x)
    (found,) = torch.autograd.grad(in_pieces(network)(x, *asked[1:]).square().sum(), x)
    assert torch.allclose(found, whole, rtol=0, atol=1e-11)


def test_an_empty_batch_stays_one_call(network, asked):
    x, timesteps, shown = asked
    assert in_pieces(network)(x[:0], timesteps[:0], shown[:0]).shape == x[:0].shape
