"""Models built without drawing weights that are about to be replaced, and no larger than the weights that there are."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from var.errors import UserError, first_line
from var.foreign.weights import Kind, ordinary_tensors
from var.weights import check_fit, kinds_of

Model = TypeVar("Model", bound=nn.Module)

LARGEST_BUFFERS = 2**30
"""Bytes of what a model computes from its config and does not save, such as masks."""

_FACTORIES = frozenset(
    getattr(torch, name)
    for name in (
        *("arange", "empty", "eye", "full", "linspace", "logspace", "normal", "ones"),
        *("rand", "randint", "randn", "randperm", "zeros"),
    )
)
_PLAIN = frozenset((torch.empty, torch.full, torch.ones, torch.zeros))
"""Factories whose tensors are parameters and buffers as a rule."""
_one_at_a_time = RLock()  # the default type and the global random stream are those of the whole process


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The weights that a model must have, of which only names, shapes and types are known yet."""

    kinds: Mapping[str, Kind]
    rule: str  # these and the next are the words of `check_fit`
    remedy: str
    called: Mapping[str, str] | None = None

    def check(self, model: nn.Module) -> None:
        """Raise `UserError` unless they are exactly those of `model`."""
        wanted = kinds_of(model.state_dict())
        called = {name: f"our {name}" for name in wanted} | {**self.called} if self.called else None
        check_fit(wanted, self.kinds, self.rule, self.remedy, called=called)


class _TooLargeError(Exception):
    """The constructor asks for more than is stored."""


class _Bounded(TorchFunctionMode):
    """Raises `_TooLargeError` as soon as a constructor has made far more than what is stored.

    With `empty_on_meta`, `torch.empty` makes meta tensors: what a constructor means to fill takes no memory, and
    filling it no time. Layers make their parameters by it. What is computed instead, such as a mask, is made as ever.

    `made` are the tensors that came from nowhere; None as soon as one was computed from another, or drawn.
    """

    def __init__(self, stored: Stored | None, *, empty_on_meta: bool) -> None:
        super().__init__()
        self._on_meta = empty_on_meta
        self.made: list[Tensor] | None = []
        self._made = self._numbers = 0
        self._most: tuple[float, float] = math.inf, math.inf
        if stored is not None:
            sizes = [math.prod(shape) for shape, _ in stored.kinds.values()]
            # Twice, because of two tied tensors one is made in vain; and what is made on the way to a buffer.
            self._most = 4 * len(sizes) + 1000, 2 * sum(sizes) + 2**24

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[Any], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FACTORIES and self._most[0] < math.inf:
            self._count(func, args, kwargs)
        if func is torch.empty and self._on_meta and kwargs.get("device") is None:
            kwargs = {**kwargs, "device": "meta"}
        name = getattr(func, "__name__", "")
        changed = args[0] if args else kwargs.get("tensor")  # by which name `nn.init` hands it on
        if name.endswith("_") and name[-2:] != "__" and name != "requires_grad_" and _is_meta(changed):
            return changed  # in place on nothing; even that takes time, and torch's compiler, which takes 2 s to import
        result = func(*args, **kwargs)
        if self.made is not None and func in _PLAIN:
            self.made.append(result)
        elif self.made is not None and _has_tensor(result):
            self.made = None
        return result

    def _count(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        sizes = {name: value for name, value in kwargs.items() if name not in ("generator", "out", "pin_memory")}
        self._made += 1
        self._numbers += func(*args, **{**sizes, "device": "meta"}).numel()
        if self._made > self._most[0] or self._numbers > self._most[1]:
            raise _TooLargeError


def _has_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, tuple | list) and any(map(_has_tensor, value)))


def _is_meta(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_meta


@contextmanager
def usual_types() -> Iterator[None]:
    """Inside, tensors are made as in `ordinary_tensors`, in float32 whatever the default type is; one thread a time."""
    with _one_at_a_time, ordinary_tensors():
        before = torch.get_default_dtype()
        if before is not torch.float32:
            torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            if before is not torch.float32:
                torch.set_default_dtype(before)


def build(cls: type[Model], config: Any, stored: Stored | None = None) -> Model:
    """`cls(config)`, whose parameters and persistent buffers may lie on the meta device; all else is as it should be.

    If it is to take what is `stored`, names, shapes and types are compared before anything of that size is made; raises
    `UserError` if they differ. The global random stream is left as it was.
    """
    with _said(cls, stored):
        compared = None if stored is None else _compared(cls, config, stored)
        if compared is not None:
            outline, whole = compared
            if whole:
                return outline
        model = _built(cls, config, stored)
        if stored is not None:
            stored.check(model)
        return model


def check_buildable(cls: type[nn.Module], config: Any, stored: Stored) -> None:
    """Raise `UserError` unless `cls(config)` takes exactly what is `stored`."""
    with _said(cls, stored):
        if _compared(cls, config, stored) is None:
            stored.check(_built(cls, config, stored))


@contextmanager
def _said(cls: type[nn.Module], stored: Stored | None) -> Iterator[None]:
    """The contexts in which models are built, and what goes wrong with them as one line where a file is to blame."""
    with usual_types(), torch.random.fork_rng(devices=[]):
        try:
            yield
        except _TooLargeError as error:
            assert stored is not None
            numbers = sum(math.prod(shape) for shape, _ in stored.kinds.values())
            reason = f"the config asks for more than the {len(stored.kinds)} tensors of {numbers} numbers"
            raise UserError(f"{stored.rule}, but: {reason}; {stored.remedy}") from error
        except (ArithmeticError, MemoryError, RuntimeError, TypeError) as error:
            if stored is None:
                raise
            reason = f"{cls.__name__} cannot be made of it ({first_line(error)})"
            raise UserError(f"{stored.rule}, but: {reason}; {stored.remedy}") from error


def _compared(cls: type[Model], config: Any, stored: Stored) -> tuple[Model, bool] | None:
    """Compare with a model that is made of shapes only; None if the constructor needs numbers.

    Returns that model, and whether it lacks nothing but what is stored.
    """
    try:
        with torch.device("meta"), _Bounded(stored, empty_on_meta=False) as bounded:
            outline = cls(config)
    except (UserError, _TooLargeError):
        raise
    except Exception:  # whatever a constructor makes of numbers that are not there; errors of its own come again
        return None
    stored.check(outline)
    saved = outline.state_dict()
    computed = sum(buffer.nbytes for name, buffer in outline.named_buffers() if name not in saved)
    if computed > LARGEST_BUFFERS:
        raise UserError(
            f"{stored.rule}, but: {cls.__name__} would compute {computed} bytes of masks and the like from it, more "
            f"than {LARGEST_BUFFERS}; {stored.remedy}"
        )
    weights = {_memory(saved[name]) for name in stored.kinds}
    # A tensor that is not saved, such as a mask or one that is no buffer, must be made of numbers.
    whole = bounded.made is not None and weights.issuperset(map(_memory, bounded.made))
    return outline, whole


def _memory(tensor: Tensor) -> int:
    """Which memory a tensor's numbers are in, or would be on the meta device; alike where tensors share it."""
    return tensor.untyped_storage()._cdata


def _built(cls: type[Model], config: Any, stored: Stored | None) -> Model:
    try:
        with _Bounded(stored, empty_on_meta=True):
            model = cls(config)
    except (RuntimeError, TypeError):
        model = None  # a constructor that looked at what it drew; an error of its own comes again
    if model is not None:
        saved = model.state_dict()
        if not any(buffer.is_meta for name, buffer in model.named_buffers() if name not in saved):
            return model
    with _Bounded(stored, empty_on_meta=False):
        return cls(config)
