"""What is written lies apart from what is read: a folder of data that grows files is another data set afterwards."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from var.data.entries import RECORD
from var.errors import UserError
from var.paths import expanded


def check_apart(output: Path | str, places: Iterable[Path]) -> None:
    """Raise `UserError` if the folder `output` is one of the `places` that data are read from, in it, or around it.

    Nor may it lie in a folder that `write_folder` has filled.

    Links, relative names and letters that the file system takes for the same do not hide it.
    """
    output = expanded(output)
    for place in places:
        inside, around = _is_inside(output, place), _is_inside(place, output)
        if inside or around:
            how = "it is" if inside and around else "it lies in" if inside else "it holds"
            raise UserError(
                f"the output {output} must lie apart from the data, but {how} {place}; choose another folder"
            )

    for folder in Path(os.path.realpath(output)).parents:
        if (folder / RECORD).is_file():
            raise UserError(
                f"the output {output} must not lie in {folder}, which holds written data; choose another folder"
            )


def _is_inside(inner: Path, outer: Path) -> bool:
    """Whether `inner`, which need not exist, is `outer` or lies in it."""
    try:
        wanted = os.stat(outer)
    except OSError:
        return False
    real = Path(os.path.realpath(inner))
    for folder in (real, *real.parents):
        with suppress(OSError):
            if os.path.samestat(os.stat(folder), wanted):
                return True
    return False
