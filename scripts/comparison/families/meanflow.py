"""MeanFlow (Geng et al. 2025, arXiv 2505.13447): flow matching by average velocities, for few steps."""

from comparison.contenders.diffusion import DiffusionContender


class MeanFlow(DiffusionContender):
    """A step along the average velocity leads all the way to its end."""

    key, title, word, color = "meanflow", "MeanFlow", "MeanFlow", "indigo"
    prefix = "mean-"
    changes = {  # noqa: RUF012 (never changed)
        "schedule": "straight",
        "prediction": "meanflow",
        "timestep_density": "logit-normal",
        "loss_weight": "adaptive",
    }
    network_changes = {"interval": True}  # noqa: RUF012
    first, fewer = ("euler", 2), (1,)
    solved = (("euler", 2), ("euler", 4))
    density, methods = "by ODE", {"by ODE": "ode"}
    cannot = "learns the slower for its second time and derivative, and tells its likelihood by an ODE only"
