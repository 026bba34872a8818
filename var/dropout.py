"""Dropout whose masks are cheap to draw on a CPU."""

import torch
from torch import Tensor, nn

_STEPS = 2**16


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, of which a CPU draws the mask from 16 random bits a number.

    There `bernoulli_` takes 10 ns a number, which made dropout of 0.1 an eighth of a training step; this takes 4. The
    probability is rounded to a multiple of 2^-16. Under a compiler, elsewhere and for values that do not lie densely
    in order, it is the library's.
    """

    def forward(self, input: Tensor) -> Tensor:
        """In training each number is zero with probability `p`, and else larger by 1 / (1 - p)."""
        dropped = round(self.p * _STEPS)
        ours = input.device.type == "cpu" and input.is_contiguous() and not torch.compiler.is_compiling()
        if not (self.training and ours and 0 < dropped < _STEPS):
            return super().forward(input)
        words = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        draws = words.view(torch.int16)[: input.numel()].view(input.shape)
        kept = (draws >= dropped - _STEPS // 2).to(input.dtype)
        return input * kept.mul_(_STEPS / (_STEPS - dropped))
