"""The modules whose arithmetic generation does itself: whatever else one of them did would be left out in silence."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from var.dropout import Dropout
from var.errors import UserError
from var.hub.wrappers import unwrapped
from var.linear import Linear
from var.transformer.blocks import Attention, Block, CrossAttention, DropPath, Mlp
from var.transformer.head import CodeHead
from var.transformer.model import VAR

Kinds = tuple[type[nn.Module], ...]

_NOTHING = (nn.Identity, nn.Dropout, Dropout, DropPath)
"""What does nothing outside training."""


def check_replaced(model: VAR) -> None:
    """Raise `UserError` for a module that is more than what `VAR` builds in its place, such as an adapter or a hook.

    Compilation may be wrapped around it, and its weights may be computed (`torch.nn.utils.parametrize`).
    """
    rule = f"generation computes from weights alone what the modules of {type(model).__name__} do"
    for name, module, kinds in _replaced(model):
        plain: Any = unwrapped(module)
        own = _own(plain)
        if own or not any(type(plain).forward is kind.forward for kind in kinds):
            raise _refused(rule, plain, name, own)


def check_copied(copied: nn.Module) -> None:
    """Raise `UserError` for a module of which a copy in another type is used, where a hook would be left behind."""
    for name, module in copied.named_modules():
        if own := _own(module):
            raise _refused("generation casts a copy of these modules", module, name or "the whole", own)


def _own(module: nn.Module) -> str | None:
    """What was added to a module besides its weights."""
    added = (each for each in ("_forward_hooks", "_forward_pre_hooks") if getattr(module, each, None))
    return next(added, "forward" if "forward" in vars(module) else None)


def _refused(rule: str, module: nn.Module, name: str, own: str | None) -> UserError:
    what = f"a {type(module).__name__}" + (f" with {own.strip('_')} of its own" if own else "")
    return UserError(f"{rule}, got {what} as {name}; merge what it adds into the weights, or remove it")


def _replaced(model: VAR) -> Iterator[tuple[str, Any, Kinds]]:
    """The modules with their names and the kinds that they must be of; whoever takes one checks it before the next."""
    linear: Kinds = (nn.Linear, Linear)
    yield "transformer", model, (VAR,)
    yield "head", model.head, (*linear, CodeHead)
    if isinstance(head := unwrapped(model.head), CodeHead):
        yield "head.output", head.output, linear
    yield "token_projection", model.token_projection, linear
    yield "scale_embedding", model.scale_embedding, (nn.Embedding,)
    block: Any
    for index, block in enumerate(model.blocks):
        name = f"blocks.{index}"
        yield name, block, (Block,)
        yield f"{name}.drop_path", block.drop_path, _NOTHING
        yield f"{name}.attention", block.attention, (Attention,)
        yield f"{name}.attention.qkv", block.attention.qkv, linear
        yield f"{name}.attention.projection", block.attention.projection, linear
        yield f"{name}.attention.dropout", block.attention.dropout, _NOTHING
        if block.cross is not None:
            yield f"{name}.cross", block.cross, (CrossAttention,)
            yield f"{name}.cross.query", block.cross.query, linear
            yield f"{name}.cross.projection", block.cross.projection, linear
            yield f"{name}.cross.dropout", block.cross.dropout, _NOTHING
        yield f"{name}.mlp", block.mlp, (Mlp,)
        yield f"{name}.mlp.fc1", block.mlp.fc1, linear
        yield f"{name}.mlp.act", block.mlp.act, (nn.GELU,)
        yield f"{name}.mlp.drop1", block.mlp.drop1, _NOTHING
        yield f"{name}.mlp.fc2", block.mlp.fc2, linear
        yield f"{name}.mlp.drop2", block.mlp.drop2, _NOTHING
