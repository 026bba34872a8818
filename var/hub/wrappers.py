"""Models as they were before compilation or distributed training wrapped them."""

from typing import Any

from torch import Tensor, nn

from var.errors import UserError
from var.foreign.weights import is_finite

WRAPPED = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""The names that wrappers give to the one module in them."""


def unwrapped(module: Any) -> Any:
    """What is inside of any number of wrappers: of `torch.compile`, `DataParallel`, an average of weights."""
    while isinstance(module, nn.Module) and (name := _inner(module)) is not None:
        module = getattr(module, name)
    return module


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and persistent buffers of `model`, by the names that they have without wrappers inside of it.

    Raises `UserError` for what no file of weights can hold: shards, shapes without values, NaN and infinity.
    """
    wrappers = [(f"{prefix}.{name}", prefix) for prefix, part in model.named_modules() if (name := _inner(part))]
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        for wrapper, prefix in reversed(wrappers):  # the innermost first
            if name.startswith(f"{wrapper}."):
                name = prefix + name[len(wrapper) :]
        state[name] = _plain(name, tensor, type(model).__name__)
    return state


def _inner(module: nn.Module) -> str | None:
    """The name of the module that this one only wraps, None if it is a model or a layer itself."""
    children = [name for name, _ in module.named_children()]
    return children[0] if len(children) == 1 and children[0] in WRAPPED and not _is_model(module) else None


def _is_model(module: nn.Module) -> bool:
    return hasattr(type(module), "config_class")


def _plain(name: str, tensor: Tensor, model: str) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise UserError(f"the weights of {model} must be tensors, got {type(tensor).__name__} as {name}; remove it")
    tensor = tensor.detach()
    if type(tensor) is not Tensor or tensor.is_sparse or tensor.is_quantized:
        kind = type(tensor).__name__ if type(tensor) is not Tensor else "a sparse or quantised tensor"
        raise UserError(f"the weights of {model} must be whole, plain tensors, got {kind} as {name}; gather them first")
    if tensor.is_meta:
        raise UserError(f"the weights of {model} must have values, but {name} is on the meta device; load it first")
    if not is_finite(tensor):
        raise UserError(f"the weights of {model} must be finite, but {name} holds NaN or infinity; save earlier ones")
    return tensor
