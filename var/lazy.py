"""Public names that are loaded when they are first used (PEP 562), so that importing a package costs nothing."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str], *others: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of `package`: each module of `homes` is followed by its public names.

    `others` are public names that the package has without loading anything. An unknown name is an `AttributeError` that
    lists what there is.
    """
    owners = {name: module for module, names in homes.items() for name in names.split()}
    public = sorted({*owners, *others})

    def load(name: str) -> Any:
        if name not in owners:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it offers {', '.join(public)}")
        return getattr(import_module(owners[name]), name)

    return load, lambda: public, public
