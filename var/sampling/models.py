"""The models of a pipeline, as users set them."""

from typing import TypeVar

from torch import nn

from var.errors import UserError
from var.hub.wrappers import unwrapped

Model = TypeVar("Model", bound=nn.Module)


def plain_model(part: nn.Module, kind: type[Model], name: str) -> Model:
    """The model in `part`, the attribute `name` of a pipeline, without what compilation or data parallelism wrapped.

    Raises `UserError` if it is not of the `kind`.
    """
    model = unwrapped(part) if isinstance(part, nn.Module) else part
    if not isinstance(model, kind):
        raise UserError(f"{name} must be a {kind.__name__}, got {type(model).__name__}; pass the model itself")
    return model
