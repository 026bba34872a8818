"""The SHA-256 of a network: scores compare only between equal judges."""

import hashlib

import torch
from torch import nn


def network_digest(about: str, network: nn.Module) -> str:
    """SHA-256 of the words `about` a network and of all its weights, in hexadecimal."""
    digest = hashlib.sha256(about.encode())
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        # Bytes, because numpy knows no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
