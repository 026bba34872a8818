"""The codebook that learns in several processes; each of them is a call of `one_rank`."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from var.vqvae.config import VQVAEConfig
from var.vqvae.quantizer import MultiScaleQuantizer

CODEBOOKS = ("ema", "gradient")


def learn(codebook, rank, world):
    """The quantiser's state after some steps on this rank's part of each batch."""
    torch.manual_seed(0)
    settings = {"sides": (1, 2, 4), "width": 4, "vocabulary": 24, "phi": 1, "base_channels": 32}
    config = VQVAEConfig(**settings, codebook=codebook, kmeans_init=True, restart_below=4.0, codebook_decay=0.8)
    quantizer = MultiScaleQuantizer(config).train()
    generator = torch.Generator().manual_seed(rank)
    for step in range(4):
        latent = torch.randn(8, 4, 4, 4, generator=torch.Generator().manual_seed(step))
        quantizer(latent.chunk(world)[rank], generator)
    return {name: value.clone() for name, value in quantizer.codebook.state_dict().items()}


def one_rank(folder, rank):
    """What one of two processes does: it leaves the codes that it has learnt in `folder`."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    for codebook in CODEBOOKS:
        save_file(learn(codebook, rank, 2), Path(folder, f"{codebook}-{rank}.safetensors"))
    torch.distributed.destroy_process_group()
