"""Stage 2: the block-causal transformer that predicts the token map of a scale from the coarser ones."""

from var.transformer.config import VARConfig
from var.transformer.model import VAR

__all__ = ["VAR", "VARConfig"]
