"""`scripts/scaling_law.py`: laws that are known, the published parameter count, and what is refused."""

import math

import pytest
import scaling_law
import torch
from scaling.power_law import fit_power_law, frontier
from scaling.rungs import block_parameters

from var import VAR, VARConfig
from var.errors import UserError


def test_a_synthetic_law_is_recovered_exactly():
    x = [73728.0 * depth**3 for depth in (1, 2, 4, 8, 16)]
    law = fit_power_law(x, [2.5 * value**-0.23 for value in x])
    assert law.exponent == pytest.approx(-0.23, abs=1e-12)
    assert law.coefficient == pytest.approx(2.5, rel=1e-10)
    assert law.exponent_interval == pytest.approx((-0.23, -0.23), abs=1e-9)
    assert law.coefficient_interval == pytest.approx((2.5, 2.5), rel=1e-8)
    assert law.correlation == pytest.approx(-1)
    assert law(100.0) == pytest.approx(2.5 * 100**-0.23)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    noise = torch.Generator().manual_seed(0)
    x = [10.0, 30.0, 100.0, 300.0, 1000.0]
    held = 0
    for _ in range(400):
        scatter = torch.randn(5, generator=noise, dtype=torch.float64).mul(0.1).exp().tolist()
        low, high = fit_power_law(x, [2 * a**-0.3 * b for a, b in zip(x, scatter, strict=True)]).exponent_interval
        held += low < -0.3 < high
    assert held / 400 == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 400))


def test_the_frontier_is_what_no_cheaper_point_beats_once_there_is_a_choice():
    small, large = [(1, 3.0), (2, 2.5), (3, 2.4), (4, 2.3)], [(2, 3.5), (4, 2.2), (5, 2.25), (6, 1.0)]
    assert frontier([small, large]) == [(4, 2.2), (6, 1.0)]
    assert frontier([small]) == small


@pytest.mark.parametrize("depth", [1, 2, 16])
def test_the_published_shape_has_73728_parameters_per_cube_of_the_depth(depth):
    with torch.device("meta"):
        model = VAR(VARConfig(depth=depth, width=64 * depth, heads=depth))
    assert block_parameters(model) == 73728 * depth**3


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        ([1.0, 2.0], [1.0, 2.0], "needs 3 points"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], "got 3 and 2"),
        ([1.0, 2.0, 3.0], [1.0, 0.0, 2.0], "positive numbers"),
        ([1.0, 2.0, 3.0], [1.0, math.nan, 2.0], "positive numbers"),
        ([2.0, 2.0, 2.0], [1.0, 2.0, 3.0], "different x"),
    ],
)
def test_points_without_a_law_are_refused(x, y, words):
    with pytest.raises(UserError, match=words):
        fit_power_law(x, y)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "needs DATA and --vqvae"),
        (["shapes", "--vqvae", "x", "--depths", "1,2"], "three or more different depths"),
        (["shapes", "--vqvae", "x", "--depths", "1,a,3"], "three or more different depths"),
        (["--runs", "nowhere"], "must be the folder of a finished run"),
    ],
)
def test_mistakes_are_told_in_a_line(arguments, words, tmp_path, capsys):
    assert scaling_law.main([*arguments, "--output", str(tmp_path / "out"), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
