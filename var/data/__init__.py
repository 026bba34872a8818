"""Image data behind one small interface: in-memory arrays, folders, the digits; and the endless stream of batches."""

# Imported at once, not lazily: `batches` and `digits` are functions named as their modules, and a lazy package would
# hand out the module to whoever comes after `import var.data.batches`. Only torch, numpy and Pillow are loaded.
from var.data.arrays import ArrayData
from var.data.augment import Augmentation, Compose, HorizontalFlip, Shift
from var.data.base import ImageData
from var.data.batches import Batch, batches
from var.data.catalog import open_data
from var.data.digits import digits
from var.data.folder import FolderData

__all__ = [
    "ArrayData",
    "Augmentation",
    "Batch",
    "Compose",
    "FolderData",
    "HorizontalFlip",
    "ImageData",
    "Shift",
    "batches",
    "digits",
    "open_data",
]
