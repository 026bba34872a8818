"""A token cache on disk: a folder of safetensors files that know which tokenizer and which data they belong to."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from var.errors import UserError
from var.files import atomic_file, is_unfinished, make_folder, set_aside, write_json
from var.foreign.documents import parse_json, read_json
from var.foreign.weights import opened_tensors, save_tensors
from var.tokenizer import Tokenizer
from var.weights import add_to_digest

logger = logging.getLogger(__name__)

KIND = "var token cache 1"
MANIFEST = "cache.json"
DIGEST = "digest"
"""Beside the settings in a part: that of its tokens."""


@dataclass(frozen=True, slots=True)
class TokenFiles:
    """The files of one cache, each whole or absent."""

    folder: Path
    settings: dict[str, Any]

    @classmethod
    def claim(cls, folder: Path, settings: dict[str, Any]) -> "TokenFiles":
        """The cache of these `settings` in `folder`, begun if that is empty; else raises `UserError` for another.

        A manifest that is lost or damaged is written again: the parts tell by themselves of which cache they are.
        """
        manifest = make_folder(folder) / MANIFEST
        if os.path.lexists(manifest) and (fault := _fault(manifest)):
            logger.warning("%s; it is written again", fault)
            if not manifest.is_file():
                set_aside(manifest)
            write_json(manifest, {"kind": KIND} | settings)
        if not manifest.exists():
            found = (path for path in folder.iterdir() if not is_unfinished(path) and path.suffix != ".damaged")
            strangers = sorted(path.name for path in found if not path.match("part-*.safetensors*"))
            if strangers and not manifest.exists():
                raise UserError(f"{folder} must be empty or a token cache, got {strangers[0]!r} in it; choose another")
            write_json(manifest, {"kind": KIND} | settings)
        _check_same(manifest, settings)
        return cls(folder, settings)

    @classmethod
    def found(cls, folder: Path, settings: dict[str, Any]) -> "TokenFiles":
        """The cache of these `settings` that lies in `folder`; raises `UserError` if there is none, or another."""
        _check_same(folder / MANIFEST, settings)
        return cls(folder, settings)

    def path(self, number: int) -> Path:
        """The file of part `number`."""
        return self.folder / f"part-{number:06d}.safetensors"

    def has(self, number: int, shape: tuple[int, int, int], dtype: torch.dtype) -> bool:
        """Whether the part `number` is there and whole; a damaged or foreign one is set aside, with a warning."""
        path = self.path(number)
        if not os.path.lexists(path):
            return False
        try:
            self._map(path, shape, dtype, read=True)
        except UserError as error:
            logger.warning("%s; it is kept as %s, and its images are encoded again", error, set_aside(path))
            return False
        return True

    def save(self, number: int, tokens: Int[Tensor, "variants part length"]) -> None:
        """Write the part `number`, whole or not at all."""
        with atomic_file(self.path(number)) as temporary:
            told = self.settings | {DIGEST: _digest(tokens)}
            save_tensors(temporary, {"tokens": tokens}, {"cache": json.dumps(told)})

    def load(
        self, shapes: Sequence[tuple[int, int, int]], dtype: torch.dtype, *, read: bool = False
    ) -> list[Int[Tensor, "variants _part length"]]:
        """Parts of these shapes, mapped into memory; raises `UserError` if one is missing, damaged or foreign.

        With `read` every token is looked at, whether it is as it was written.
        """
        missing = [self.path(number).name for number in range(len(shapes)) if not self.path(number).exists()]
        if missing:
            raise UserError(
                f"the token cache {self.folder} must have {len(shapes)} parts, got {len(shapes) - len(missing)} "
                f"({missing[0]} is missing); let all processes encode their share"
            )
        return [self._map(self.path(number), shape, dtype, read=read) for number, shape in enumerate(shapes)]

    def _map(self, path: Path, shape: tuple[int, int, int], dtype: torch.dtype, *, read: bool = False) -> Tensor:
        """The tokens of a part; `read` looks at every one of them, whether it is as it was written."""
        with opened_tensors(path) as file:
            settings, tokens = parse_json(file.metadata().get("cache", "{}"), path), file.load("tokens")
        written = settings.pop(DIGEST, None)  # older caches have none
        if settings != self.settings or tuple(tokens.shape) != shape or tokens.dtype != dtype:
            raise UserError(
                f"{path} must hold {dtype} of shape {shape} of this cache, got {tokens.dtype} of shape "
                f"{tuple(tokens.shape)} or of another cache; delete it"
            )
        if read and written is not None and _digest(tokens) != written:
            raise UserError(f"{path} must hold the tokens that were written, got others; delete it")
        return tokens


def _digest(tokens: Tensor) -> str:
    digest = hashlib.blake2b(digest_size=16)
    add_to_digest(digest.update, [("tokens", tokens)])
    return digest.hexdigest()


def _fault(manifest: Path) -> str | None:
    try:
        read_json(manifest)
    except UserError as error:
        return str(error)
    return None


def _check_same(manifest: Path, settings: dict[str, Any]) -> None:
    found = read_json(manifest)
    if found.pop("kind", None) != KIND:
        raise UserError(f"{manifest} must describe a token cache, got another file; choose another folder")
    differing = [name for name in settings if settings[name] != found.get(name)]
    if differing:
        changes = ", ".join(f"{name} {found.get(name)} instead of {settings[name]}" for name in differing)
        raise UserError(
            f"the token cache {manifest.parent} must be of the same {', '.join(settings)}, got {changes}; "
            "delete it or choose another folder"
        )


def tokenizer_digest(vqvae: Tokenizer) -> str:
    """32 hex digits that name the config of a tokenizer and those of its weights that tokens depend on."""
    config: Any = vqvae.config
    # Without the defaults, so that a field that a later version adds does not make every cache another one.
    chosen = {each.name: value for each in fields(config) if (value := getattr(config, each.name)) != each.default}
    digest = hashlib.blake2b(json.dumps(chosen, default=str).encode(), digest_size=16)
    decoding = {id(tensor) for module in vqvae.decoding() for tensor in module.state_dict(keep_vars=True).values()}
    weights = (each for each in sorted(vqvae.state_dict(keep_vars=True).items()) if id(each[1]) not in decoding)
    add_to_digest(digest.update, weights, header="{name} {dtype} {shape}")
    return digest.hexdigest()
