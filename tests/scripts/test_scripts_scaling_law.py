"""`scripts/scaling_law.py`: laws that are known, the published parameter count, and what is refused."""

import json
import math
import sys
from pathlib import Path

import pytest
import scaling_law
import torch
from processes import run_script
from scaling.figure import draw
from scaling.power_law import fit_power_law, frontier
from scaling.rungs import Rung, block_parameters
from small_pictures import picture
from tiny import tiny_vqvae

from var import VAR, VARConfig
from var.errors import UserError

SCRIPT = Path(__file__).parents[2] / "scripts" / "scaling_law.py"


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


def test_a_ladder_that_makes_no_mistakes_keeps_its_other_laws(tmp_path):
    rungs = [
        Rung(
            run=str(depth),
            origin=("a", "b"),
            depth=depth,
            width=8,
            flops=depth,
            loss=1 / depth,
            parameters=depth,
            all_parameters=depth,
            error=depth % 2.0,
            curve=[(1.0, 2.0, 0.5)],
        )
        for depth in (1, 2, 3)
    ]
    laws, missing = scaling_law._laws(rungs)
    assert laws.keys() == {"loss over parameters"}
    assert missing["error over parameters"].startswith("needs positive numbers, got [1, 2, 3] and [1.0, 0.0, 1.0]")
    draw(rungs, laws, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").exists()


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
        (["--runs", "nowhere", "x", "y"], "must be the folder of a finished run"),
        (["--runs", "x", "y", "x"], "a law needs three different runs or more, got x, y, x; name others"),
        (["shapes", "--runs", "x", "y", "z"], "DATA is about training, and with --runs nothing is trained"),
    ],
)
def test_mistakes_are_told_in_a_line(arguments, words, tmp_path, capsys):
    assert scaling_law.main([*arguments, "--output", str(tmp_path / "out"), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_the_script_finds_its_parts(tmp_path, monkeypatch, capsys):
    """Under -P, or PYTHONSAFEPATH, the folder in which the script's other parts lie is left out."""
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if Path(each).resolve() != SCRIPT.parent])
    for name in [name for name in sys.modules if name.partition(".")[0] == "scaling"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SystemExit) as end:
        run_script(SCRIPT, "--output", tmp_path / "out")
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("scaling_law.py: error: a ladder needs DATA and --vqvae, got none")


def test_a_ladder_of_words_is_trained_and_measured(tmp_path, capsys):
    """With rows so few that no law over compute can be told, the others are."""
    for index in range(8):
        for split in ("train", "test"):  # which is judged by
            name = tmp_path / "data" / split / ("ant", "bee")[index % 2] / f"{index}.png"
            path = picture(name, 20 * index + 5 * (split == "test"), 8)
            path.with_suffix(".txt").write_text(("by day", "by night")[index // 4])
    named = ("training.steps=1", "training.batch_size=4", "tokens.variants=1", "data.text=words:by day,by night")
    options = [part for each in named for part in ("--set", each)] + ["--device", "cpu", "--quiet"]

    def study(output, *more):
        return scaling_law.main([*more, "--output", str(tmp_path / output), "--quiet"])

    def ladder(output, vocabulary):
        vqvae = tmp_path / f"vqvae-{vocabulary}"
        tiny_vqvae(sides=(1, 2, 4), vocabulary=vocabulary).save_pretrained(vqvae)
        how = ["--vqvae", str(vqvae), "--depths", "1,2,3", "--width", "8", "--preset", "digits"]
        return study(output, str(tmp_path / "data"), *how, *options)

    assert [ladder("one", 16), ladder("two", 8)] == [0, 0]
    assert "loss over compute      no law: " in capsys.readouterr().out
    report = json.loads((tmp_path / "one" / "scaling.json").read_text())
    assert [rung["depth"] for rung in report["rungs"]] == [1, 2, 3]
    assert list(report["laws"]) == ["loss over parameters", "error over parameters"]
    assert (tmp_path / "one" / "scaling.png").exists()
    runs = [str(tmp_path / "one" / f"depth-{depth}") for depth in (2, 3, 1)]
    assert study("read", "--runs", *runs) == 0
    again = json.loads((tmp_path / "read" / "scaling.json").read_text())
    assert again["laws"] == report["laws"]
    assert [rung["parameters"] for rung in again["rungs"]] == [rung["parameters"] for rung in report["rungs"]]
    runs = [str(tmp_path / place) for place in ("one/depth-1", "one/depth-2", "two/depth-3")]
    assert study("both", "--runs", *runs) == 2
    assert "must be of one tokenizer and one data set" in capsys.readouterr().err
