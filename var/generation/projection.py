"""Linear layers as generation runs them: weights in the type that the device is fast in, by its fastest kernel."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from var.linear import has_kernel, product

Activation = Literal["gelu", "gelu_tanh"]

BF16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16")
"""What CPUs that multiply in bfloat16 call it (x86, x86, ARM)."""


def computing_type(stored: torch.dtype, device: torch.device) -> torch.dtype:
    """The type to multiply in where weights are stored in `stored`.

    A CPU without instructions for it emulates bfloat16, which takes 4 times as long as float32 (512 rows, AVX-512).
    """
    if device.type == "cpu" and stored in (torch.bfloat16, torch.float16):
        capabilities = torch.cpu.get_capabilities()
        if stored == torch.float16 or not any(capabilities.get(name) for name in BF16_INSTRUCTIONS):
            return torch.float32
    return stored


@dataclass(frozen=True, slots=True)
class Projection:
    """x W^T + b, then the activation."""

    weight: Tensor
    bias: Tensor | None
    activation: Activation | None = None
    onednn: bool = False  # by oneDNN's kernel, which does the activation too
    packed: bool = False

    @classmethod
    def of(
        cls,
        weight: Float[Tensor, "out in_"],
        bias: Float[Tensor, " out"] | None,
        dtype: torch.dtype,
        *,
        activation: Activation | None = None,
        pack: bool = False,
    ) -> "Projection":
        """The layer in `dtype`; `pack` copies the weights into the order of the CPU's matrix kernels.

        Float32 on a CPU goes through oneDNN where torch has it, as in `var.linear`; with the activation torch's own
        kernels give 52 GFLOP/s for 184. Packed weights are up to twice as fast for 8 to 200 rows, which the coarse
        scales have; elsewhere than on a CPU with oneDNN nothing is packed.
        """
        weight = weight.detach().to(dtype)
        bias = None if bias is None else bias.detach().to(dtype)
        known = has_kernel(weight)
        if pack and known:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        return cls(weight, bias, activation, onednn=known and (pack or dtype == torch.float32), packed=pack and known)

    def tensors(self) -> list[Tensor]:
        """What it holds in the order of its weights; packed weights have an order of their own."""
        bias = [] if self.bias is None else [self.bias]
        return bias if self.packed else [self.weight, *bias]

    def __call__(self, x: Float[Tensor, "*rows in_"]) -> Float[Tensor, "*rows out"]:
        """The layer's output, in the type of its weights."""
        x = x.to(self.weight.dtype)
        approximate = "tanh" if self.activation == "gelu_tanh" else "none"
        if self.onednn:
            return product(x, self.weight, self.bias, "gelu" if self.activation else "none", approximate)
        x = F.linear(x, self.weight, self.bias)
        return F.gelu(x, approximate=approximate) if self.activation else x
