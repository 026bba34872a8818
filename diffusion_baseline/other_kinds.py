"""What a user is told to do with a model that is no diffusion pipeline."""

from contextlib import AbstractContextManager

from var.hub.kinds import remedies

TOKENS = "it draws tokens; use `var generate` (or `var edit`, `var sample-set`)"
TOKENIZER = "it is a tokenizer; train a transformer on it: var train transformer DATA --vqvae {source}"
GUIDE = "it is a classifier, which guides a diffusion model: give it by --classifier, and that model by --model"
CODEC = "it is an autoencoder; diffuse in its latents: python -m diffusion_baseline train DATA --codec {source}"


def sent_on(source: str) -> AbstractContextManager[None]:
    """Within, a model in `source` that is of another kind than what is loaded is refused with the command it is for."""
    known = {"VARPipeline": TOKENS, "VQVAE": TOKENIZER, "Autoencoder": CODEC, "NoisyClassifier": GUIDE}
    return remedies({name: remedy.format(source=source) for name, remedy in known.items()})
