"""Next-scale autoregressive image generation (VAR), and what it shares with every other generator.

VAR, top to bottom: `recipes` (how the stages are trained), `generation`, `original` (published checkpoints),
`transformer` and `vqvae` (the two stages), `scales`.
Shared, and ignorant of any model: `runs`, `training`, `evaluation`, `data`, `hub`, `sampling`, `command_line` and the
modules beside them; `diffusion_baseline` stands on these too, and CONTRIBUTING.md has the plan of all floors.

The public names are loaded when they are first used.
"""

from typing import TYPE_CHECKING

from var.lazy import lazy_names
from var.version import __version__ as __version__

if TYPE_CHECKING:
    from var.generation import VARPipeline as VARPipeline
    from var.sampling.guidance import Guidance as Guidance
    from var.scales import ScaleSchedule as ScaleSchedule
    from var.transformer import VAR as VAR
    from var.transformer import VARConfig as VARConfig
    from var.vqvae import VQVAE as VQVAE
    from var.vqvae import VQVAEConfig as VQVAEConfig

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "var.generation": "VARPipeline",
        "var.sampling.guidance": "Guidance",
        "var.scales": "ScaleSchedule",
        "var.transformer": "VAR VARConfig",
        "var.vqvae": "VQVAE VQVAEConfig",
    },
    "__version__",
)
