import pytest

from var.quantities import count, fixed, flops, quantity, significant, size


@pytest.mark.parametrize(
    ("show", "value", "text"),
    [
        (fixed(3), 0.28449, "0.284"),
        (fixed(3), 123456.789, "123457"),
        (fixed(3), 1e12, "1.0e12"),
        (significant, 0.41234, "0.412"),
        (significant, 1480.4, "1480"),
        (significant, -1.26e-10, "-1e-10"),
        (significant, 0.0, "0"),
        (quantity, 1797, "1797"),
        (quantity, 9_999.6, "10k"),
        (quantity, 48_213, "48.2k"),
        (quantity, -48_213, "-48.2k"),
        (quantity, 999_999, "1M"),
        (quantity, 1_250_000, "1.25M"),
        (quantity, 3e30, "3.0e30"),
    ],
)
def test_numbers_are_short(show, value, text):
    assert show(value) == text


def test_units_say_what_is_counted():
    assert flops(7.44e12) == "7.44 TFLOP"
    assert flops(999) == "999 FLOP"
    assert flops(1000) == flops(999.9) == "1 kFLOP"
    assert size(1536) == "1.5 KiB"
    assert size(0) == "0 B"
    assert size(1020) == "1020 B"
    assert (count(1, "class", "classes"), count(2000, "class", "classes")) == ("1 class", "2,000 classes")
