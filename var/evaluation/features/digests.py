"""The SHA-256 of a network: scores compare only between equal judges."""

import hashlib

from torch import nn

from var.weights import add_to_digest


def network_digest(about: str, network: nn.Module) -> str:
    """SHA-256 of the words `about` a network and of all its weights, in hexadecimal."""
    digest = hashlib.sha256(about.encode())
    add_to_digest(digest, network.state_dict().items())
    return digest.hexdigest()
