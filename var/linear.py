"""Linear layers that a CPU computes by oneDNN's kernel, in both passes."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad


class Linear(nn.Linear):
    """`torch.nn.Linear`, which in float32 on a CPU calls oneDNN where torch has it.

    Torch's own layer calls MKL, which leaves instructions of other makers' CPUs unused: 100 GFLOP/s for 235 on an EPYC
    with AVX-512. CPUs of other kinds were not measured.
    """

    def forward(self, input: Float[Tensor, "*rows in_"]) -> Float[Tensor, "*rows out"]:
        """The output x W^T + b."""
        return linear(input, self.weight, self.bias)


def linear(
    x: Float[Tensor, "*rows in_"], weight: Float[Tensor, "out in_"], bias: Float[Tensor, " out"] | None = None
) -> Float[Tensor, "*rows out"]:
    """The output x W^T + b: `torch.nn.functional.linear`, by the kernel of `Linear`.

    Under a compiler, autocast, `torch.func` and forward-mode differentiation, elsewhere than on a CPU, for other
    tensors than torch's own, and where `torch.backends.mkldnn` is switched off, it is the library's.
    """
    if torch.compiler.is_compiling() or _transformed() or not _by_kernel(x, weight, bias):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled():
        return _Product.apply(x, weight, bias)
    return product(x, weight, bias)


def _by_kernel(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the kernel takes these: it knows no empty batch, and tells nothing of shapes that do not fit."""
    given = (x, weight) if bias is None else (x, weight, bias)
    ours = all(type(each) in (Tensor, nn.Parameter) and each.layout == torch.strided for each in given)
    ours = ours and x.device.type == "cpu" and all(each.dtype == torch.float32 for each in given) and has_kernel(weight)
    return ours and x.numel() > 0 and x.shape[-1:] == weight.shape[1:] and not torch.is_autocast_enabled("cpu")


def _transformed() -> bool:
    """Whether `torch.func` or forward-mode differentiation is at work, of which torch tells in private only."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none", kind: str = "") -> Tensor:
    """The `activation` of x W^T + b by oneDNN's kernel, of GELU the `kind` that torch calls "none" or "tanh"."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], kind)


def has_kernel(weight: Tensor) -> bool:
    """Whether this torch has oneDNN's linear layers for such a weight; they are not part of its public API."""
    return (
        weight.device.type == "cpu"
        and weight.dtype in (torch.float32, torch.bfloat16)
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
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
    """The layer with its gradients, which are products of the same kind and have gradients again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        of_x, of_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(x if of_weight else None, weight if of_x else None)  # frozen weights keep no input
        ctx.shape = x.shape
        return product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight = ctx.saved_tensors
        rows = gradient.reshape(-1, gradient.shape[-1])
        return (
            None if weight is None else linear(rows, weight.mT).view(ctx.shape),
            None if x is None else linear(rows.mT, x.reshape(-1, x.shape[-1]).mT),
            rows.sum(dim=0) if ctx.needs_input_grad[2] else None,
        )
