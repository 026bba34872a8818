"""Tokens as a trained pipeline draws them, kept on disk: what its decoder has to decode."""

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor
from tqdm.auto import tqdm

from var.data.base import ImageData, conditions_at, fingerprint
from var.files import sweep
from var.generation import VARPipeline
from var.generation.sampling_settings import SamplingSettings
from var.randomness import keyed_seed
from var.recipes.transformer.token_cache_files import TokenFiles
from var.runs.overrides import settings_to_dict

PART, BATCH = 500, 50
"""Images in a file, which is what an interruption costs at most; images that are drawn at once."""


def drawn_tokens(
    pipeline: VARPipeline,
    data: ImageData,
    count: int,
    sampling: SamplingSettings,
    *,
    folder: Path,
    digest: str,
    seed: int = 0,
    progress: bool = True,
    rank: int = 0,
    world_size: int = 1,
    wait: Callable[[], None] = lambda: None,
) -> Int64[Tensor, "count length"]:
    """Tokens of `count` samples of what the images of `data` show, evenly spread over them.

    Each sample has a seed of its own. They are kept in files of `folder`, under the `digest` of the pipeline, and an
    interrupted call goes on where it was when it is repeated. Of several processes, each with its `rank`, every one
    draws its share of the files, and `wait` returns when all have done so. Raises `UserError`, which names what
    differs, if the folder holds tokens of another pipeline, other data or another setting.
    """
    told = {"pipeline": digest, "sampling": settings_to_dict(sampling), "seed": seed}
    files = TokenFiles.claim(folder, told | {"samples": count, "data": fingerprint(data)})
    length = pipeline.vqvae.scales.length
    places = torch.arange(count) * len(data) // count
    parts = list(torch.arange(count).split(PART))
    shapes = [(1, len(part), length) for part in parts]
    own = range(rank, len(parts), world_size)
    mine = [number for number in own if not files.has(number, shapes[number], torch.int32)]
    with tqdm(total=sum(len(parts[number]) for number in mine), desc="draw", disable=not progress or not mine) as bar:
        for number in mine:
            drawn = []
            for some in parts[number].split(BATCH):
                seeds = [keyed_seed("drawn", seed, index) for index in some.tolist()]
                shown = conditions_at(data, places[some])
                out = pipeline(shown, seeds=seeds, sampling=sampling, output_type="pt", progress=False)
                drawn.append(pipeline.vqvae.scales.flatten([tokens.cpu() for tokens in out.tokens]))
                bar.update(len(some))
            files.save(number, torch.cat(drawn)[None].to(torch.int32))
    wait()
    sweep(files.folder)
    return torch.cat([part[0] for part in files.load(shapes, torch.int32)]).long()
