"""What a user is told to do with a model that is none of ours, or only the first half of one."""

from contextlib import AbstractContextManager
from pathlib import Path

from var.hub.kinds import remedies
from var.hub.models import family
from var.tokenizer import Tokenizer

DIFFUSION = "it is a diffusion model; use `python -m diffusion_baseline generate` (or its edit, its sample-set)"


def sent_on(source: Path | str) -> AbstractContextManager[None]:
    """Within, a model in `source` that is of another kind than what is loaded is refused with the command it is for."""
    tokenizer = f"it is a tokenizer; train a transformer on it first: var train transformer DATA --vqvae {source}"
    autoencoder = "it is an autoencoder; diffuse in its latents: python -m diffusion_baseline train DATA --codec"
    known = {each.__name__: tokenizer for each in family(Tokenizer)}
    known |= dict.fromkeys(("DiffusionPipeline", "CascadePipeline"), DIFFUSION)
    return remedies({**known, "Autoencoder": f"{autoencoder} {source}"})
