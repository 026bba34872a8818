"""What a step costs, against closed forms and against PyTorch's own counter on real tensors."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from var.linear import Linear
from var.runs.cost import Cost, Operations, cost_of


def linear_pair():
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4))


def test_linear_layers_cost_six_flops_a_weight_and_row():
    model = linear_pair()
    rows = torch.zeros(5, 8, device="meta", requires_grad=True)
    cost = cost_of(model, lambda: model(rows).sum())
    assert cost.flops == 5 * 6 * (8 * 16 + 16 * 4)
    # Kept in float32: the input, the hidden values before and after the activation.
    assert cost.kept == 4 * 5 * (8 + 16 + 16)


def test_without_a_backward_pass_nothing_is_kept():
    model = linear_pair()
    assert cost_of(model, lambda: model(torch.zeros(5, 8, device="meta")).sum(), backward=False) == Cost(
        flops=5 * 2 * (8 * 16 + 16 * 4), kept=0
    )


def test_attention_counts_as_the_fused_kernel():
    holder = nn.Module()
    q, k, v = (torch.zeros(2, 3, length, 8, device="meta", requires_grad=True) for length in (5, 7, 7))
    cost = cost_of(holder, lambda: F.scaled_dot_product_attention(q, k, v).sum())
    assert cost.flops == 3 * (2 * 2 * 3 * 5 * 7 * 8 * 2)
    assert cost.kept == 4 * 2 * 3 * 8 * (5 + 7 + 7 + 5)  # q, k, v and the result, no 5 x 7 matrix


def test_costs_add_up():
    assert Cost(flops=1, kept=2) + Cost(flops=10, kept=20) == Cost(flops=11, kept=22)


class Net(nn.Module):
    """A convolution, attention over its places, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.qkv = nn.Linear(16, 48)
        self.head = nn.Linear(16, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.conv(images).flatten(2).mT
        q, k, v = self.qkv(hidden).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        hidden = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.head(hidden).square().mean()


def test_the_flops_are_those_that_pytorch_counts_on_real_tensors():
    net, images = Net(), torch.randn(2, 3, 6, 6)
    # On a CPU the fused kernel is not counted, the plain one is.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        net(images).backward()
    with torch.device("meta"):
        same = Net()
    cost = cost_of(same, lambda: same(torch.zeros(2, 3, 6, 6, device="meta")))
    assert cost.flops == pytest.approx(counter.get_total_flops(), rel=0.01)


@pytest.mark.parametrize(("kind", "products"), [(nn.Linear, 3), (Linear, 4)])
def test_a_penalty_of_gradients_at_the_input_is_counted(kind, products):
    """Forward, the gradient at the input, and what the penalty asks of the weights; torch's account of modules fails.

    A function of Python computes the gradient of its weights as well, though only that of the input is asked for.
    """
    layer, x = kind(4, 3, bias=False), torch.ones(2, 4, requires_grad=True)
    with Operations() as counter:
        (gradient,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
        gradient.square().sum().backward()
    assert counter.get_total_flops() == products * (2 * 2 * 4 * 3)
