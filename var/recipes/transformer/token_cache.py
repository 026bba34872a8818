"""Token maps of a whole data set, encoded once so that training need not run the encoder at every step."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int, Int64
from torch import Tensor
from tqdm.auto import tqdm

from var.data.augment import Augmentation
from var.data.base import ImageData
from var.data.batches import load_in_order
from var.errors import UserError
from var.files import sweep
from var.randomness import keyed_generator
from var.recipes.transformer.token_cache_files import TokenFiles
from var.tokenizer import Tokenizer

BATCH = 100
"""Images encoded at once. Tokens drawn above temperature 0 depend on it, and nothing else may choose another."""
PART = 10 * BATCH
"""Images in a file, which is what an interruption costs at most."""


@dataclass(frozen=True, slots=True)
class TokenCache:
    """Tokens of every image, in one or several variants (of other crops, or drawn with a temperature above 0).

    16 bits a token, or 32 for a vocabulary beyond 32768.
    """

    parts: Sequence[Int[Tensor, "variants _part length"]]  # the images in order, `part` in each but the last
    part: int

    @classmethod
    def of(
        cls,
        data: ImageData,
        vqvae: Tokenizer,
        *,
        variants: int = 1,
        temperature: float = 0,
        seed: int = 0,
        augment: Augmentation | None = None,
        progress: bool = True,
        bar_line: int = 0,
        workers: int = 0,
    ) -> "TokenCache":
        """Encode all of `data` into memory.

        Several `variants` differ by `augment`, which is keyed by (seed, variant, index), and above `temperature` 0 (see
        `Codebook.nearest`). `workers` processes load the images.
        """
        encoder = _Encoder(data, vqvae, variants, temperature, seed, augment, workers)
        with tqdm(total=variants * len(data), desc="encode", disable=not progress, position=bar_line) as bar:
            (tokens,) = encoder.parts([range(len(data))], bar)
        return cls([tokens], len(data))

    @classmethod
    def at(
        cls,
        folder: Path | str,
        data: ImageData,
        vqvae: Tokenizer,
        *,
        variants: int = 1,
        temperature: float = 0,
        seed: int = 0,
        augment: Augmentation | None = None,
        progress: bool = True,
        bar_line: int = 0,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        wait: Callable[[], None] | None = None,
    ) -> "TokenCache":
        """The same tokens in the files of `folder`, mapped into memory; what is missing there is encoded first.

        An interrupted call goes on where it was when it is repeated. Of several processes, each with its `rank`, every
        one encodes its share of the files; `wait` returns when all have done so. Raises `UserError`, which names what
        differs, if the folder holds tokens of another tokenizer, other data or another setting.
        """
        encoder = _Encoder(data, vqvae, variants, temperature, seed, augment, workers)
        starts = range(0, len(data), PART)
        files = TokenFiles.claim(Path(folder), data, vqvae, variants, temperature, seed, augment, count=len(starts))
        shares = {
            number: range(start, min(start + PART, len(data)))
            for number, start in enumerate(starts)
            if number % world_size == rank and not files.path(number).exists()
        }
        total = variants * sum(len(share) for share in shares.values())
        with tqdm(total=total, desc="encode", disable=not progress or not total, position=bar_line) as bar:
            for number, tokens in zip(shares, encoder.parts(list(shares.values()), bar), strict=True):
                files.save(number, tokens)
        if wait is not None:
            wait()
        sweep(files.folder)
        shape = variants, len(data), vqvae.config.schedule.length
        return cls(files.load(shape, _dtype(vqvae), PART), PART)

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


def _dtype(vqvae: Tokenizer) -> torch.dtype:
    return torch.int16 if vqvae.config.vocabulary <= 2**15 else torch.int32


@dataclass(frozen=True, slots=True)
class _Encoder:
    """What tokens depend on, and how they come about."""

    data: ImageData
    vqvae: Tokenizer
    variants: int
    temperature: float
    seed: int
    augment: Augmentation | None
    workers: int

    def __post_init__(self) -> None:
        if self.variants < 1:
            raise UserError(f"a token cache needs 1 variant or more, got {self.variants}; 1 is enough without crops")

    def parts(self, shares: Sequence[range], bar: tqdm) -> Iterator[Int[Tensor, "variants _part length"]]:
        """The tokens of the images in each of `shares`."""
        device = self.vqvae.device
        scales = self.vqvae.config.schedule
        stream = load_in_order(
            self.data,
            _Keys(shares, 1 if self.augment is None else self.variants),
            seed=self.seed,
            augment=self.augment,
            workers=self.workers,
            pin_memory=device.type == "cuda",
        )
        for share in shares:
            tokens = torch.empty(self.variants, len(share), scales.length, dtype=_dtype(self.vqvae))
            for start in range(share.start, share.stop, BATCH):
                batch = None
                for variant in range(self.variants):
                    if batch is None or self.augment is not None:
                        batch = next(stream).to(device)
                    generator = keyed_generator("tokens", self.seed, variant, start, device=device)
                    with torch.inference_mode():
                        token_maps = self.vqvae.encode(batch.images, temperature=self.temperature, generator=generator)
                    rows = slice(start - share.start, start - share.start + len(batch.images))
                    tokens[variant, rows] = scales.flatten(token_maps).cpu().to(tokens.dtype)
                    bar.update(len(batch.images))
            yield tokens
        stream.close()


@dataclass(frozen=True, slots=True)
class _Keys:
    """The batches to load: every one of `shares` in pieces of `BATCH`, in as many different variants as there are."""

    shares: Sequence[range]
    variants: int

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        for share in self.shares:
            for start in range(share.start, share.stop, BATCH):
                indices = list(range(start, min(start + BATCH, share.stop)))
                for variant in range(self.variants):
                    yield variant, indices
