"""Token maps of a whole data set, encoded once so that training need not run the encoder at every step."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from jaxtyping import Int, Int64
from torch import Tensor
from tqdm.auto import tqdm

from var.data.augment import Augmentation
from var.data.base import ImageData, fingerprint
from var.data.batches import load_in_order
from var.errors import UserError
from var.files import sweep
from var.randomness import keyed_generator
from var.recipes.transformer.token_cache_files import TokenFiles, tokenizer_digest
from var.tokenizer import Tokenizer

BATCH = 100
"""Images encoded at once. Tokens drawn above temperature 0 depend on it, and nothing else may choose another."""
PART = 10 * BATCH
"""Images in a file, which is what an interruption costs at most."""


class Encoding(TypedDict):
    """What the tokens of a cache depend on besides data and tokenizer; see `TokenCache.of`."""

    variants: int
    temperature: float
    seed: int
    augment: Augmentation | None


@dataclass(frozen=True, slots=True)
class TokenCache:
    """Tokens of every image, in one or several variants (of other crops, or drawn with a temperature above 0).

    16 bits per token, or 32 for a vocabulary beyond 32768.
    """

    parts: Sequence[Int[Tensor, "variants _part length"]]  # the images in order, `part` in each but the last
    part: int

    @classmethod
    def of(
        cls,
        data: ImageData,
        vqvae: Tokenizer,
        *,
        folder: Path | str | None = None,
        variants: int = 1,
        temperature: float = 0,
        seed: int = 0,
        augment: Augmentation | None = None,
        progress: bool = True,
        bar_line: int = 0,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        wait: Callable[[], None] = lambda: None,
    ) -> "TokenCache":
        """Encode all of `data` into memory, or what is missing of it into the files of `folder`, mapped into memory.

        Several `variants` differ by `augment`, which is keyed by (seed, variant, index), and above `temperature` 0 (see
        `Codebook.nearest`). `workers` processes load the images. With a `folder`, an interrupted call goes on where it
        was when it is repeated; of several processes, each with its `rank`, every one encodes its share of the files;
        `wait` returns when all have done so. Raises `UserError`, which names what differs, if the folder holds tokens
        of another tokenizer, other data or another setting.
        """
        encoder = _Encoder(data, vqvae, variants, temperature, seed, augment, workers)
        part = len(data) if folder is None else PART
        shares = _pieces(range(len(data)), part)
        files = None if folder is None else TokenFiles.claim(Path(folder), encoder.settings())
        own = range(rank, len(shares), world_size)
        missing = [n for n in own if files is None or not files.has(n, encoder.shape(shares[n]), encoder.dtype)]
        mine = [shares[number] for number in missing]
        total, kept = variants * sum(map(len, mine)), []
        with tqdm(total=total, desc="encode", disable=not progress or not total, position=bar_line) as bar:
            for number, tokens in zip(missing, encoder.parts(mine, bar), strict=True):
                if files is None:
                    kept.append(tokens)
                else:
                    files.save(number, tokens)
        if files is None:
            return cls(kept, part)
        wait()
        sweep(files.folder)
        return cls(files.load([encoder.shape(share) for share in shares], encoder.dtype), part)

    @classmethod
    def opened(cls, data: ImageData, vqvae: Tokenizer, folder: Path | str, **how: Unpack[Encoding]) -> "TokenCache":
        """The cache that `of` has left in `folder`, with every token looked at and nothing written.

        Raises `UserError` for one that is not whole, damaged, or of another tokenizer, other data or another setting.
        """
        encoder = _Encoder(data, vqvae, **how)
        files = TokenFiles.found(Path(folder), encoder.settings())
        shares = _pieces(range(len(data)), PART)
        return cls(files.load([encoder.shape(share) for share in shares], encoder.dtype, read=True), PART)

    @property
    def tokens(self) -> Int[Tensor, "variants n length"]:
        """All tokens as one tensor in memory."""
        return torch.cat(list(self.parts), dim=1)

    def draw(self, indices: Int64[Tensor, " batch"], generator: torch.Generator) -> Int64[Tensor, "batch length"]:
        """Tokens of the images at `indices`, each in a variant chosen by `generator`, on its device."""
        device, indices = generator.device, indices.cpu()
        # A draw on the device would make the host wait for it.
        host = generator if device.type == "cpu" else keyed_generator("variants", generator.initial_seed(), indices[0])
        variants = torch.randint(len(self.parts[0]), indices.shape, generator=host)
        tokens = torch.empty(len(indices), self.parts[0].shape[2], dtype=self.parts[0].dtype)
        owners = indices // self.part
        for owner in owners.unique().tolist():
            here = owners == owner
            tokens[here] = self.parts[owner][variants[here], indices[here] - owner * self.part]
        if device.type == "cuda":
            tokens = tokens.pin_memory()
        return tokens.to(device, non_blocking=True).long()


def encoded_again(
    data: ImageData, vqvae: Tokenizer, pieces: Sequence[range], **how: Unpack[Encoding]
) -> Iterator[Int[Tensor, "variants _piece length"]]:
    """The tokens of some images as a cache holds them; each of `pieces` begins at a multiple of `BATCH`."""
    with tqdm(disable=True) as bar:
        yield from _Encoder(data, vqvae, **how).parts(pieces, bar)


def _pieces(images: range, size: int) -> list[range]:
    return [images[start : start + size] for start in range(0, len(images), size)]


@dataclass(frozen=True, slots=True)
class _Encoder:
    """What tokens depend on, and how they come about."""

    data: ImageData
    vqvae: Tokenizer
    variants: int
    temperature: float
    seed: int
    augment: Augmentation | None
    workers: int = 0

    def __post_init__(self) -> None:
        if self.variants < 1:
            raise UserError(f"a token cache needs 1 variant or more, got {self.variants}; 1 is enough without crops")

    @property
    def dtype(self) -> torch.dtype:
        return torch.int16 if self.vqvae.config.vocabulary <= 2**15 else torch.int32

    def shape(self, share: range) -> tuple[int, int, int]:
        return self.variants, len(share), self.vqvae.config.schedule.length

    def settings(self) -> dict[str, Any]:
        """What distinguishes one cache from another, fit for JSON."""
        return {
            "tokenizer": tokenizer_digest(self.vqvae),
            "data": fingerprint(self.data),
            "variants": self.variants,
            "temperature": float(self.temperature),
            "seed": self.seed,
            # The same name in every process, which the addresses in default representations are not.
            "augmentation": re.sub(r" at 0x[0-9a-f]+", "", repr(self.augment)),
        }

    def parts(self, shares: Sequence[range], bar: tqdm) -> Iterator[Int[Tensor, "variants _part length"]]:
        """The tokens of the images in each of `shares`."""
        device, scales = self.vqvae.device, self.vqvae.config.schedule
        loaded = 1 if self.augment is None else self.variants  # different batches of the same images
        keys = ((n, list(piece)) for share in shares for piece in _pieces(share, BATCH) for n in range(loaded))
        pin = device.type == "cuda"
        stream = load_in_order(
            self.data, keys, seed=self.seed, augment=self.augment, workers=self.workers, pin_memory=pin
        )
        for share in shares:
            tokens = torch.empty(self.shape(share), dtype=self.dtype)
            for piece in _pieces(share, BATCH):
                rows = slice(piece.start - share.start, piece.stop - share.start)
                batch = None
                for variant in range(self.variants):
                    if batch is None or self.augment is not None:
                        batch = next(stream).to(device)
                    generator = keyed_generator("tokens", self.seed, variant, piece.start, device=device)
                    with torch.inference_mode():
                        token_maps = self.vqvae.encode(batch.images, temperature=self.temperature, generator=generator)
                    tokens[variant, rows] = scales.flatten(token_maps).cpu().to(tokens.dtype)
                    bar.update(len(batch.images))
            yield tokens
        stream.close()
