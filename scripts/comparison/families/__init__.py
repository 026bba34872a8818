"""Every family of generative models: a file for each, and an entry in the table."""

from comparison.contenders import CONTENDERS, Contender
from comparison.families.pixels import PixelFamily
from comparison.families.raster import RasterContender

FAMILIES: dict[str, Contender] = {each.key: each for each in (*CONTENDERS.values(), RasterContender(), PixelFamily())}
"""By the name that `--models` and reports call them; without `--families`, those of `CONTENDERS` are compared."""
