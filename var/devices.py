"""Which device to use, and whether it can be used here."""

import os

import torch

from var.errors import UserError, first_line
from var.names import received


def check_device(device: torch.device | str | int) -> None:
    """Raise `UserError` unless numbers can be made on `device` and brought back."""
    name = received(device if isinstance(device, int) else str(device))
    failures = RuntimeError, AssertionError, ValueError, OverflowError
    try:
        torch.device(device)
    except failures as error:  # torch lists twenty, most of which nobody has
        said = f"device {name} cannot be used here (no device is called so)"
        raise UserError(f"{said}; use 'cpu', 'cuda', 'cuda:1' or 'mps', or leave the choice out") from error
    try:
        torch.zeros(1, device=device).cpu()
    except failures as error:
        reason = first_line(error).split(". ")[0]
        raise UserError(f"device {name} cannot be used here ({reason}); use 'cpu', or leave the choice out") from error


def chosen_device(name: str | None) -> str:
    """The device asked for; without a wish, the GPU where there is one, and each of several processes its own.

    Raises `UserError` for one that cannot be used here.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    name = f"cuda:{os.environ['LOCAL_RANK']}" if name == "cuda" and "LOCAL_RANK" in os.environ else name
    check_device(name)
    return name
