"""Both stages joined: sampling token maps scale by scale and decoding them."""

from var.generation.pipeline import VAROutput, VARPipeline

__all__ = ["VAROutput", "VARPipeline"]
