"""Linear layers that a CPU computes by oneDNN's kernel, in both passes."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Linear(nn.Linear):
    """`torch.nn.Linear`, which in float32 on a CPU calls oneDNN where torch has it.

    Torch's own layer calls MKL, which leaves instructions of other makers' CPUs unused: 100 GFLOP/s for 235 on an EPYC
    with AVX-512.
    """

    def forward(self, input: Float[Tensor, "*rows in_"]) -> Float[Tensor, "*rows out"]:
        """The output x W^T + b."""
        return linear(input, self.weight, self.bias)


def linear(
    x: Float[Tensor, "*rows in_"], weight: Float[Tensor, "out in_"], bias: Float[Tensor, " out"] | None = None
) -> Float[Tensor, "*rows out"]:
    """The output x W^T + b: `torch.nn.functional.linear`, by the kernel of `Linear`.

    Under a compiler, under autocast, elsewhere than on a CPU, and for other tensors than torch's own, it is the
    library's.
    """
    plain = type(x) is Tensor and type(weight) in (Tensor, nn.Parameter) and not torch.compiler.is_compiling()
    ours = plain and x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu" and has_kernel(weight)
    fits = x.numel() > 0 and x.shape[-1:] == weight.shape[1:]  # the kernel knows no empty batch, and tells no shapes
    if not (ours and fits) or torch.is_autocast_enabled("cpu"):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled():
        return _Product.apply(x, weight, bias)
    return product(x, weight, bias)


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none", how: str = "") -> Tensor:
    """`activation` of x W^T + b by oneDNN's kernel; `how` is GELU's approximation."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], how)


def has_kernel(weight: Tensor) -> bool:
    """Whether this torch has oneDNN's linear layers for such a weight; they are not part of its public API."""
    return (
        weight.device.type == "cpu"
        and weight.dtype in (torch.float32, torch.bfloat16)
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


def kernel_flops() -> dict[Any, Callable[..., int]]:
    """Operations of the kernel, which torch's counter does not know, for its `custom_mapping`."""

    def flops(x: torch.Size, weight: torch.Size, *_: Any, **__: Any) -> int:
        return 2 * x.numel() * weight[0]

    kernel = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return {} if kernel is None else {kernel: flops}


class _Product(torch.autograd.Function):
    """The layer with its gradients, which are products of the same kind."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight = ctx.saved_tensors
        rows = gradient.reshape(-1, weight.shape[0])
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            product(rows, weight.mT).view_as(x) if of_x else None,
            product(rows.mT, x.reshape(-1, weight.shape[1]).mT) if of_weight else None,
            rows.sum(dim=0) if of_bias else None,
        )
