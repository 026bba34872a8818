"""Flow matching: the diffusion baseline's network and pipeline on straight paths from noise to images.

x_t = (1 - t) x_0 + t eps, and the network predicts the velocity eps - x_0 (Lipman et al. 2023, Liu et al. 2023).
"""

from typing import Any

from torch import Tensor

from comparison.contenders.diffusion import DiffusionContender


class FlowMatching(DiffusionContender):
    """Straight paths, followed by solvers of ordinary differential equations."""

    key, title, word, color = "flow-matching", "Flow matching", "flow matching", "gold"
    prefix = "flow-"
    changes = {"schedule": "straight", "prediction": "flow"}  # noqa: RUF012 (never changed)
    first = ("heun", 10)
    fewer = (3, 5)
    solved = (("euler", 5), ("euler", 10), ("dpmpp", 5), ("dpmpp", 8), ("dpmpp", 10))
    density = "none"

    def likelihoods(self, *parts: Any) -> dict[str, Tensor]:
        """None yet."""
        return {}
