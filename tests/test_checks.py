"""The checks that settings share."""

from types import SimpleNamespace

import pytest

from var.checks import at_least, not_negative, positive, probability, share
from var.errors import UserError

VALUES = SimpleNamespace(minus=-1, zero=0, half=0.5, one=1, two=2, unknown=float("nan"))


def test_checks_pass_on_the_edges_of_their_ranges() -> None:
    at_least(1, VALUES, "one", "two")
    not_negative(VALUES, "zero", "half")
    positive(VALUES, "half", "one")
    share(VALUES, "zero", "half", "one")
    probability(VALUES, "zero", "half", "one")
    probability(VALUES, "zero", "half", below_1=True)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: at_least(2, VALUES, "two", "one"), "one must be at least 2, got 1; raise it"),
        (lambda: not_negative(VALUES, "minus"), "minus must be 0 or more, got -1; correct it"),
        (lambda: positive(VALUES, "zero"), "zero must be positive, got 0; raise it"),
        (lambda: share(VALUES, "two"), "two is a share and must lie in [0, 1], got 2; correct it"),
        (lambda: probability(VALUES, "two"), "two is a probability and must lie in [0, 1], got 2; correct it"),
        (
            lambda: probability(VALUES, "one", below_1=True),
            "one is a probability and must lie in [0, 1), got 1; lower it",
        ),
    ],
)
def test_checks_name_field_value_and_remedy(check, message) -> None:
    with pytest.raises(UserError) as error:
        check()
    assert str(error.value) == message


@pytest.mark.parametrize("check", [not_negative, positive, share, probability])
def test_checks_refuse_what_is_no_number(check) -> None:
    with pytest.raises(UserError, match="got nan"):
        check(VALUES, "unknown")
