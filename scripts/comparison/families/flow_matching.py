"""Flow matching: the diffusion baseline's network and pipeline on straight paths from noise to images.

x_t = (1 - t) x_0 + t eps, and the network predicts the velocity eps - x_0 (Lipman et al. 2023, Liu et al. 2023), at
times from a logit-normal distribution (Esser et al. 2024).
"""

from comparison.contenders.diffusion import DiffusionContender


class FlowMatching(DiffusionContender):
    """Straight paths, followed by solvers of ordinary differential equations."""

    key, title, word, color = "flow-matching", "Flow matching", "flow matching", "gold"
    prefix = "flow-"
    changes = {"schedule": "straight", "prediction": "flow", "timestep_density": "logit-normal"}  # noqa: RUF012
    first, fewer = ("heun", 10), (3, 5)
    solved = (("euler", 5), ("euler", 10), ("unipc", 5), ("dpmpp", 8), ("dpmpp", 10))
    density, methods = "by ODE", {"by ODE": "ode"}
    cannot = "cannot draw in one step, nor tell its likelihood but by an ODE; a step costs the more, the more pixels"
