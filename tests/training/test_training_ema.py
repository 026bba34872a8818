"""The running average of the weights in closed form."""

import pytest
import torch
from torch import nn

from var.training.ema import AveragedWeights


class Counter(nn.Module):
    """A weight, a float statistic, and a whole number that cannot be averaged."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0]))
        self.register_buffer("statistic", torch.tensor([4.0]))
        self.register_buffer("count", torch.tensor(0))


def test_the_average_in_closed_form():
    model = Counter()
    average = AveragedWeights(model, 0.5)
    expected = 2.0
    for step in range(20):
        model.weight.data.fill_(float(step))
        model.count.fill_(step)
        average.update(model)
        decay = min(0.5, (1 + step) / (10 + step))  # 0.1, 2/11, 0.25, ... until it is 0.5
        expected = decay * expected + (1 - decay) * step
        assert float(average.average["weight"]) == pytest.approx(expected, rel=1e-5)
    assert average.average["count"] == 19
    assert average.average["statistic"] == 4.0


def test_a_constant_is_its_own_average():
    model = Counter()
    average = AveragedWeights(model, 0.999)
    for _ in range(50):
        average.update(model)
    torch.testing.assert_close(average.average["weight"], torch.tensor([2.0]))


def test_the_average_is_a_copy_until_it_is_put_back():
    model = Counter()
    average = AveragedWeights(model, 0.9)
    model.weight.data.fill_(50.0)
    assert average.average["weight"] == 2.0
    model.load_state_dict(average.average)
    assert model.weight == 2.0
    model.weight.data.fill_(7.0)
    assert average.average["weight"] == 2.0


def test_averaging_keeps_the_gradient_out():
    model = Counter()
    average = AveragedWeights(model, 0.9)
    average.update(model)
    assert not average.average["weight"].requires_grad


def test_inside_a_block_the_model_is_the_average_and_afterwards_exactly_itself():
    class Tied(Counter):
        def __init__(self):
            super().__init__()
            self.same = self.weight

    model = Tied()
    average = AveragedWeights(model, 0.5)
    model.weight.data.fill_(0.3)
    model.count.fill_(7)
    average.update(model)
    expected = {name: value.clone() for name, value in average.average.items()}
    with average.inside(model):
        assert torch.equal(model.weight, expected["weight"])
        assert not torch.equal(model.weight, torch.tensor([0.3]))
        assert model.same is model.weight
    assert torch.equal(model.weight, torch.tensor([0.3]))
    assert model.count == 7
    assert all(torch.equal(average.average[name], value) for name, value in expected.items())
