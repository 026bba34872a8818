"""Features of more images than memory holds: rows go to a file without a name, which is then read as a tensor."""

import tempfile
from contextlib import AbstractContextManager

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from var.errors import UserError


class FeatureStore(AbstractContextManager["FeatureStore"]):
    """Rows that are appended batch by batch; `rows()` maps them into memory and they vanish with the last tensor.

    The file lies in the folder of temporary files (`TMPDIR`): 50,000 features of 2048 numbers take 410 MB there.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__; the mapping outlives it)
        self._width: int | None = None
        self._type = np.dtype(np.float32)
        self._count = 0

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, rows: Float[Tensor, "batch width"]) -> None:
        """Append a batch; half precision is stored as float32."""
        plain = rows.detach().cpu()
        values = (plain if plain.dtype == torch.float64 else plain.float()).contiguous().numpy()
        if self._width is None:
            self._width, self._type = values.shape[1], values.dtype
        if values.shape[1] != self._width or values.dtype != self._type:
            raise UserError(
                f"an extractor must give features of one length and type, got {values.shape[1]} {values.dtype} after "
                f"{self._width} {self._type}; mend the extractor"
            )
        try:
            self._file.write(values.tobytes())
        except OSError as error:
            raise UserError(
                f"features must fit on the disk of temporary files, but: {error}; set TMPDIR to a larger one"
            ) from error
        self._count += len(values)

    def rows(self) -> Float[Tensor, "n width"]:
        """All rows in their order."""
        shape = (self._count, self._width or 0)
        if 0 in shape:
            return torch.empty(shape)
        self._file.flush()
        return torch.from_numpy(np.memmap(self._file, dtype=self._type, mode="r+", shape=shape))
