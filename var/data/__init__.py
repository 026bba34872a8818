"""Image data behind one small interface: arrays, folders, shards, digits, shapes; and the endless stream of batches."""

# Imported at once, not lazily: `batches` is a function named as its module, and a lazy package would
# hand out the module to whoever comes after `import var.data.batches`. Only torch, numpy and Pillow are loaded.
from var.data.arrays import ArrayData
from var.data.augment import Augmentation, Compose, HorizontalFlip, RandomAffine, RandomCrop, RandomResizedCrop, Shift
from var.data.bad_images import SkipBadImages, skipped_summary
from var.data.base import ImageData, fingerprint, without_images
from var.data.batches import Batch, batches
from var.data.catalog import open_data
from var.data.folder import FolderData
from var.data.huggingface import HuggingFaceData
from var.data.named.digits import digits
from var.data.named.shapes import shapes
from var.data.tar import TarData
from var.data.vectors import WithVectors
from var.data.write import write_folder
from var.foreign.pictures import BadImageError

__all__ = [
    "ArrayData",
    "Augmentation",
    "BadImageError",
    "Batch",
    "Compose",
    "FolderData",
    "HorizontalFlip",
    "HuggingFaceData",
    "ImageData",
    "RandomAffine",
    "RandomCrop",
    "RandomResizedCrop",
    "Shift",
    "SkipBadImages",
    "TarData",
    "WithVectors",
    "batches",
    "digits",
    "fingerprint",
    "open_data",
    "shapes",
    "skipped_summary",
    "without_images",
    "write_folder",
]
