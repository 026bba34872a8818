"""Numbers that must be finite before anything is drawn or shown, on every device."""

from torch import Tensor

from var.errors import UserError

AT_ONCE = ("cpu",)
"""Kinds of devices on which a result is there when its operator returns."""


class Finite:
    """Refuses NaN and infinity in what it is shown: at once on a CPU, elsewhere when it is asked to `settle`.

    A look at each tensor would make the host wait for the device. Until then zeros stand in for all that is not finite,
    so that nothing is drawn out of NaN, which ends a CUDA process; what was computed of them must not be returned.
    """

    def __init__(self, need: str, remedy: str) -> None:
        self.need, self.remedy = need, remedy
        self._fine: Tensor | None = None

    def checked(self, values: Tensor) -> Tensor:
        """The `values`, changed in place where zeros must stand in; raises `UserError` as the class says."""
        if values.device.type in AT_ONCE:
            check_finite(values, self.need, self.remedy)
            return values
        fine = _is_finite(values)
        self._fine = fine if self._fine is None else self._fine & fine
        return values.masked_fill_(~fine, 0)

    def settle(self) -> None:
        """Raise `UserError` if anything that was shown was not finite; waits for the device."""
        if self._fine is not None and not self._fine:
            raise UserError(f"{self.need}, got NaN or infinite ones; {self.remedy}")


def check_finite(values: Tensor, need: str, remedy: str) -> None:
    """Raise `UserError` that says the `need`, such as "decoding needs finite images"; waits for the device."""
    if not values.is_meta and values.numel() and not _is_finite(values):
        raise UserError(f"{need}, got NaN or infinite ones; {remedy}")


def _is_finite(values: Tensor) -> Tensor:
    """Whether all are finite, in one pass: the extremes take over NaN, and 0 times infinity is NaN."""
    low, high = values.detach().aminmax()
    return low * 0 == high * 0
