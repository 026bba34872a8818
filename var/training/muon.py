"""Muon: momentum whose steps move a weight matrix alike in all its directions, strong and weak (Jordan et al. 2024)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from var.training.sharding import held_of, local, whole

_QUINTIC = (3.4445, -4.7750, 2.0315)  # as published: steep at 0, and never far from 1
_ITERATIONS = 5
_TOGETHER = 32  # matrices: one by one, many small products take longer than a large one
_ADAMW_STEP = 0.2  # usual root mean square of AdamW's steps, in learning rates


class Muon(torch.optim.Optimizer):
    """Orthogonalised Nesterov momentum, its steps as long as AdamW's (Liu et al. 2025, arXiv 2502.16982, Eq. 4).

    The length lets it share AdamW's learning rate and (decoupled) weight decay. Parameters are weights of linear and
    convolution layers, a row for each output. Those that are spread over processes become whole for the step.

    torch.optim.Muon takes no convolutions, and multiplies in bfloat16, which many processors only emulate.
    """

    def __init__(self, params: Iterable[dict[str, Any]], *, lr: float, momentum: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient, which is used up: the direction takes its place."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            self._look_ahead(parameters, group["momentum"])
            for some in _stacks(parameters):
                orders = [_memory_order(parameter) for parameter in some]
                matrices = [whole(_gradient(p)).permute(o).flatten(1) for p, o in zip(some, orders, strict=True)]
                places = [parameter.permute(order) for parameter, order in zip(some, orders, strict=True)]
                for place, move in zip(places, orthogonalized(matrices), strict=True):
                    move.mul_(-group["lr"] * _ADAMW_STEP * max(move.shape) ** 0.5)
                    held = local(place)
                    held.mul_(1 - group["lr"] * group["weight_decay"])
                    held.add_(held_of(place, move.view(place.shape)))

    def _look_ahead(self, parameters: list[Tensor], momentum: float) -> None:
        """Replace each gradient by its running mean, as that will be after one more step along this gradient."""
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        held = [local(_gradient(parameter)) for parameter in parameters]
        means = [local(self.state[parameter]["momentum"]) for parameter in parameters]
        torch._foreach_lerp_(means, held, 1 - momentum)
        torch._foreach_lerp_(held, means, momentum)


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None  # `step` has looked
    return parameter.grad


def _stacks(parameters: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """The parameters by the shorter side of their matrices, so many at once as memory may have to hold whole."""
    alike: dict[int, list[Tensor]] = {}
    for parameter in parameters:
        alike.setdefault(min(len(parameter), parameter.numel() // len(parameter)), []).append(parameter)
    for members in alike.values():
        for start in range(0, len(members), _TOGETHER):
            yield members[start : start + _TOGETHER]


def _memory_order(weight: Tensor) -> list[int]:
    """The axes, rows first, so that copies are short; which column is which does not matter to a direction."""
    return [0, 2, 3, 1] if weight.dim() == 4 and not weight.is_contiguous() else list(range(weight.dim()))


def orthogonalized(matrices: Sequence[Float[Tensor, "_rows _columns"]]) -> list[Float[Tensor, "_rows _columns"]]:
    """About U V^T of each matrix U S V^T (singular values 0.7 to 1.2); directions of no strength stay without.

    Newton-Schulz: X becomes (a + b X X^T + c (X X^T)^2) X, five times. These factors are polynomials of the first
    X X^T, a small matrix, and commute: their product is made first. All matrices have the same shorter side.
    """
    lying = [matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix for matrix in matrices]
    lying = [matrix / matrix.norm().clamp_min(1e-30) for matrix in lying]
    factors = _factors(torch.stack([matrix @ matrix.mT for matrix in lying]))
    turned = [factor @ matrix for factor, matrix in zip(factors, lying, strict=True)]
    return [t if t.shape == matrix.shape else t.mT for t, matrix in zip(turned, matrices, strict=True)]


def _factors(squares: Float[Tensor, "count rows rows"]) -> Float[Tensor, "count rows rows"]:
    """What the five iterations multiply X by, from X X^T."""
    a, b, c = _QUINTIC
    identity = torch.eye(squares.shape[1], dtype=squares.dtype, device=squares.device)
    product = factor = torch.baddbmm(squares, squares, squares, beta=b, alpha=c) + a * identity
    for _ in range(_ITERATIONS - 1):
        squares = factor @ squares @ factor
        factor = torch.baddbmm(squares, squares, squares, beta=b, alpha=c) + a * identity
        product = factor @ product
    return product


def muon_flops(matrices: Iterable[Tensor]) -> int:
    """Operations of the matrix products in a step of such weights; a multiplication and an addition are two."""
    total = 0
    for matrix in matrices:
        small, large = sorted((len(matrix), matrix.numel() // len(matrix)))
        total += 2 * 2 * small**2 * large + (4 * _ITERATIONS - 3) * 2 * small**3
    return total
