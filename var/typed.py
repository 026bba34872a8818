"""Values against the types that annotations ask for: what fits, in the form that fits, and what is said of the rest."""

import json
import math
import re
import types
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import is_dataclass
from typing import Any, Literal, Union, get_args, get_origin

from var.errors import suggestion
from var.names import received

_WORDS = {"true": True, "false": False, "none": None, "null": None}
MOST_BITS = 14_000
"""Of a whole number: of more digits than 4,300 Python writes none in a message, nor in a record."""
MOST_LISTED = 2**20
"""Of a list that a call or a config is given: more is a slip that would take all memory."""
_SCALARS = {
    int: "a whole number",
    float: "a finite number",
    bool: "True or False",
    str: "a text",
    types.NoneType: "None",
}


def fit(value: Any, hint: Any, *, texts: bool = False) -> Any:
    """`value` as the type `hint` wants it; raises `TypeError` if it does not fit.

    Hints are int, float, bool, str, None, Literal, dataclasses, tuples and unions of these; what another hint asks for
    is not looked at. Lists become tuples, whole numbers floats where asked, and numpy's numbers Python's; a float must
    be finite. With `texts`, a value may also be the text that says it: "1e-4" is a number where a number belongs.
    """
    if _is_numpy(value) and value.ndim == 0:
        value = value.item()
    origin, options = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        # The exact type first: in `float | int`, 1 stays 1. What a text can say is more than a text.
        for option in sorted(options, key=lambda option: (texts and option is str, type(value) is not option)):
            with suppress(TypeError):
                return fit(value, option, texts=texts)
        raise TypeError
    if origin is Literal:
        for option in options:
            # 1 == True, so the type must agree too.
            if (value == option and type(value) is type(option)) or (texts and value == str(option)):
                return option
        raise TypeError
    if origin is tuple:
        return _fit_tuple(_read_list(value) if texts else value, options, texts)
    if texts and (read := _read(value, hint)) is not value:
        return fit(read, hint)
    return _fit_scalar(value, hint)


def described(value: Any, hint: Any) -> str:
    """What is said of a `value` that does not fit: "must be ..., got ...; the remedy".

    Where one may stand for a list of such, lists are told of where a list was given.
    """
    if get_origin(hint) in (Union, types.UnionType) and not isinstance(value, (list, tuple, range)):
        kinds = get_args(hint)
        hint = Union[tuple(kind for kind in kinds if get_args(kind)[:1] not in [(each,) for each in kinds])]  # noqa: UP007
    lists = any(get_args(each)[-1:] == (Ellipsis,) for each in (hint, *get_args(hint)))
    if lists and (found := _count(value)) > MOST_LISTED:
        return f"must be a list of at most {MOST_LISTED}, got one of {received(found)}; shorten it"
    if type(value) is int and value.bit_length() > MOST_BITS:
        return f"must be a number of at most {MOST_BITS} bits, got {received(value)}; correct it"
    options = list(_words(hint))
    remedy = "correct it"
    if isinstance(value, str) and options:
        near = suggestion(value, options)
        remedy = near if near.startswith("did you mean") else remedy
    return f"must be {_wanted(hint)}, got {received(value)}; {remedy}"


def length(values: Any) -> int:
    """How many there are; of a range also where that is beyond what Python's `len` can say."""
    return max(0, -(-(values.stop - values.start) // values.step)) if isinstance(values, range) else len(values)


def _fit_scalar(value: Any, hint: Any) -> Any:
    if hint is None:
        hint = types.NoneType
    if hint is float and type(value) is int:
        with suppress(OverflowError):
            value = float(value)
    if hint in _SCALARS:
        fits = type(value) is hint and not (hint is float and not math.isfinite(value))
        fits = fits and not (hint is int and value.bit_length() > MOST_BITS)
    else:
        fits = not (isinstance(hint, type) and is_dataclass(hint)) or isinstance(value, hint)
    if not fits:
        raise TypeError
    return value


def _fit_tuple(value: Any, hints: tuple[Any, ...], texts: bool) -> tuple[Any, ...]:
    if _count(value) > MOST_LISTED:
        raise TypeError
    if _is_numpy(value):
        value = value.tolist()
    if not isinstance(value, (list, tuple, range)):
        raise TypeError
    if len(hints) == 2 and hints[1] is Ellipsis:
        hints = (hints[0],) * len(value)
    if len(hints) != len(value):
        raise TypeError
    return tuple(fit(part, hint, texts=texts) for part, hint in zip(value, hints, strict=True))


def _read(value: Any, hint: Any) -> Any:
    """What a text or a number says where a `hint` belongs; `value` itself if that is nothing of the kind."""
    if isinstance(value, str) and hint in (bool, types.NoneType):
        return _WORDS.get(value.lower(), value)
    if hint not in (int, float) or isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return value
    with suppress(ValueError):  # "1e5" is a whole number too, but not for int()
        if hint is int and not isinstance(value, float):
            return int(value)
    with suppress(ValueError, OverflowError):
        number = float(value)
        return int(number) if hint is int and number.is_integer() else number
    return value


def _read_list(value: Any) -> Any:
    """The list that a text such as "1,2", "(1, 2)" or "[1, 2]" says."""
    if isinstance(value, str):
        text = value.replace("(", "[").replace(")", "]").replace(",]", "]")
        text = re.sub(r"(?<![\w.])\.(?=\d)", "0.", text)  # which JSON wants before the point of .9
        with suppress(ValueError, RecursionError):
            return json.loads(text if text.startswith("[") else f"[{text}]")
    return value


def _words(hint: Any) -> Iterable[str]:
    """The texts that a hint allows by name."""
    if get_origin(hint) is Literal:
        yield from (option for option in get_args(hint) if isinstance(option, str))
    for part in get_args(hint) if get_origin(hint) is not Literal else ():
        yield from _words(part)


def _count(value: Any) -> int:
    """Of the numbers in a list or an array; 0 in what is none."""
    if _is_numpy(value):
        return value.size
    return length(value) if isinstance(value, (list, tuple, range)) else 0


def _is_numpy(value: Any) -> bool:
    return type(value).__module__ == "numpy" and hasattr(value, "ndim")  # importing it would make `--help` slow


def _wanted(hint: Any) -> str:
    origin, options = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(repr(option) for option in options)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_wanted, options))
    if origin is tuple:
        if len(options) == 2 and options[1] is Ellipsis:
            return f"a list, each {_wanted(options[0])}"
        return f"a list of {len(options)}, " + ", ".join(map(_wanted, options))
    return _SCALARS.get(types.NoneType if hint is None else hint, getattr(hint, "__name__", str(hint)))
