"""What is no run, or has nothing to be judged by, is refused in a line; a log alone tells of some faults."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import former_draws
import pytest
from annotations import unchecked

from var.cli import main
from var.doctor import examine
from var.doctor.curve import CURVES, SOURCES, _against_reference, _at
from var.errors import UserError
from var.foreign.logs import read_log

RUNS = Path(__file__).parents[1] / "golden" / "before_the_house" / "runs"
QUIET = {"overfit_steps": 0, "device": "cpu", "progress": False}


@pytest.fixture
def run(tmp_path):
    """A copy of a run of stage 1 of four steps, by an older version."""
    return shutil.copytree(RUNS / "tokenizer", tmp_path / "run")


def test_runs_of_older_versions_are_understood(monkeypatch):
    # Two drafts by a tokenizer of four steps lie so far apart that its cache is sound by the same draws only.
    former_draws.restore(monkeypatch)
    for name in ("transformer", "stopped"):
        assert examine(RUNS / name, **QUIET).sound


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: (run / "run.yaml").unlink(), "RUN must be the folder of a run of `var train`"),
        (lambda run: (run / "log.jsonl").unlink(), "a run is judged by its log"),
        (lambda run: (run / "log.jsonl").write_text('{"step": 1, "war'), "got none in"),
        (lambda run: (run / "log.jsonl").write_text('{"step": 1, "warning": "no"}\n'), "got none in"),
        (
            lambda run: (run / "log.jsonl").write_text('{"step": 1, "loss": 0.5}\n'),
            "judged by 'reconstruction'",
        ),
        (lambda run: (run / "log.jsonl").write_text('{"step": 1, "reconstruction": "y"}\n'), "got none in"),
        (lambda run: (run / "run.yaml").write_text("training: {steps: 1}\n"), "must have 'run'"),
        (lambda run: (run / "run.yaml").write_text("run: {kind: diffusion}\n"), "unknown kind of run 'diffusion' in"),
        (shutil.rmtree, "RUN must be the folder of a run of `var train`"),
    ],
)
def test_what_cannot_be_judged_is_refused(run, spoil, said, capsys):
    spoil(run)
    assert main(["doctor", str(run), "--quiet", "--device", "cpu"]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_wrong_options_are_refused(run, capsys):
    with unchecked():
        for given, said in (
            ({"overfit_steps": -1}, "must be 0"),
            ({"overfit_steps": "ten"}, "a whole number"),
            ({"given_scales": 2}, "given_scales must be"),
            ({"given_scales": True}, "--given-scales is for runs of `var train transformer`, got a vqvae"),
            ({"data": "digitz"}, "did you mean 'digits'"),
            ({"data": "no/such/folder"}, "--data names the images"),
        ):
            with pytest.raises(UserError, match=said):
                examine(run, **{**QUIET, **given})
        with pytest.raises(UserError, match="run must be a text"):
            examine(3, **QUIET)  # type: ignore[arg-type]
    assert main(["doctor", str(run), "--json", str(run / "log.jsonl"), "--quiet"]) == 2
    assert "--json must not write" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("losses", "said"), [([1, 2, float("nan")], "not finite"), ([1, 0.9, 4, 9], "rises"), ([1, 0.9, 1.1], None)]
)
def test_a_log_tells_of_a_loss_that_does_not_fall(run, losses, said):
    rows = [{"step": step, "loss": loss, "reconstruction": loss} for step, loss in enumerate(losses, 1)]
    (run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    faults = examine(run, **QUIET).faults
    assert [each.key for each in faults] == (["curve"] if said else [])
    assert not said or said in faults[0].said


def test_the_curves_of_the_presets_come_with_the_package():
    for kind, name in (("vqvae", "reconstruction"), ("transformer", "loss")):
        for preset in SOURCES:
            rows = [(row["step"], row[name]) for row in read_log(CURVES / f"{kind}-{preset}.jsonl")]
            assert rows[-1][1] < 0.9 * rows[0][1]
            assert _at(rows, rows[3][0]) == rows[3][1]
            assert _at(rows, (rows[0][0] + rows[1][0]) / 2) == pytest.approx((rows[0][1] + rows[1][1]) / 2)
            assert _at(rows, 0) == rows[0][1]
            assert _at(rows, rows[-1][0]) == rows[-1][1]


@pytest.mark.parametrize(
    ("step", "loss", "said"), [(800, 5.4, True), (800, 4.0, False), (9000, 3.6, False), (50, 9, False)]
)
def test_a_run_that_learns_less_than_its_preset_did_is_told(step, loss, said):
    patient = SimpleNamespace(kind="transformer", measured={})
    with unchecked():
        found = list(_against_reference(patient, "digits", (step, loss), "loss"))  # type: ignore[arg-type]
    assert [each.key for each in found] == ["reference"] * said
    assert not said or "the reference had 3.93 at step 800" in found[0].measured
    assert patient.measured["reference"]["expected"] == {50: 5.855, 800: 3.93, 9000: 3.585}[step]
