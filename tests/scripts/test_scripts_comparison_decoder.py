"""A comparison whose VAR has a third stage: trained, counted, told, and made equal to others."""

import json
from dataclasses import replace

import compare as script
import numpy as np
import pytest
from comparison import judging, matching, seconds
from comparison import run as running
from comparison.contenders import CONTENDERS, shortened
from comparison.schedule import Place
from comparison.settings import comparison
from comparison.trained import comparison_of, load_trained
from PIL import Image
from tiny_comparison import patch, serially, tiny

from var import VARPipeline
from var.recipes.decoder.presets import PRESETS, decoder_run

STAGES = ["tokenizer", "transformer", "decoder"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of two classes of 12 grey images of 8 pixels, for which there is a preset with a decoder."""
    folder, draw = tmp_path_factory.mktemp("data") / "my-images", np.random.default_rng(0)
    for place, name in enumerate(("dark", "light")):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = draw.integers(0, 90, (8, 8), dtype=np.uint8) + np.uint8(150 * place)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    usual = decoder_run("emoji-32")
    with pytest.MonkeyPatch.context() as changes:
        changes.setitem(PRESETS, "digits", replace(usual, losses=replace(usual.losses, patch_layers=1)))
        yield folder


@pytest.fixture(scope="module")
def compared(images, tmp_path_factory):
    """The folder of a tiny comparison of VAR alone, and what it reports."""
    folder = tmp_path_factory.mktemp("output") / "one"
    with pytest.MonkeyPatch.context() as changes:
        changes.setattr("comparison.processes.start_server", lambda: None)
        for module in (judging, running):
            changes.setattr(module, "carry_out", serially)
        patch(changes.setattr)
        words = [str(images), "--preset", "digits", "--size", "8", "--models", "var", "--device", "cpu"]
        assert script.main([*words, "--output", str(folder)]) == 0
        yield folder, json.loads((folder / "report.json").read_text())


def records(folder):
    """What each stage of the model keeps, by its name."""
    found = {}
    for stage in STAGES:
        (path,) = folder.glob(f"stages/{stage}-*/stage.json")
        found[stage] = json.loads(path.read_text())
    return found


def test_it_is_trained_counted_and_told(compared):
    folder, report = compared
    kept = {stage: each.get("record", each) for stage, each in records(folder).items()}
    pipeline = VARPipeline.from_pretrained(folder / "models" / "var")
    parameters = sum(weight.numel() for part in pipeline.models().values() for weight in part.parameters())
    assert kept["decoder"]["parameters"] == 0
    assert kept["decoder"]["train_flops"] > 0
    for row in report["results"]:
        assert row["parameters"] == parameters
        for name in ("train_seconds", "train_flops"):
            assert row[name] == pytest.approx(sum(each[name] for each in kept.values()))
    page = (folder / "report.html").read_text()
    assert "was then trained on tokens that the transformer draws." in page
    assert [title for title in ("tokenizer", "transformer", "decoder") if f"stage: {title}" not in page.lower()] == []


def test_the_model_is_that_of_the_last_stage(compared):
    folder, _ = compared
    (before,), (after,) = (folder.glob(f"stages/{stage}-*/model") for stage in STAGES[1:])
    first, last, saved = (VARPipeline.from_pretrained(each) for each in (before, after, folder / "models" / "var"))
    how = {"seeds": [0], "output_type": "pt", "progress": False}
    images = [pipeline(0, **how).images for pipeline in (first, last, saved)]
    assert not np.array_equal(images[0], images[1])
    assert np.array_equal(images[1], images[2])


def test_a_run_of_a_decoder_is_compared_as_it_is(compared, images):
    folder, _ = compared
    (run,) = folder.glob("stages/decoder-*/model")
    pipeline, settings = load_trained(CONTENDERS["var"], str(run))
    assert settings is None
    plan = comparison_of([str(run)], str(images)).models["var"]
    assert plan.headline == pipeline.sampling
    assert plan.trained == str(run)


def test_operations_are_made_equal_with_it(images):
    plan = tiny(comparison(str(images), preset="digits", size=8))
    costs = matching._cost(plan, "var")
    assert list(costs) == STAGES
    made = matching.equal_flops(plan)
    assert made.models["var"] == plan.models["var"]
    (cost,) = matching._cost(made, "diffusion").values()
    (step,) = matching._cost(replace(made, models={**made.models, "diffusion": one_step(made)}), "diffusion").values()
    assert cost == pytest.approx(sum(costs.values()), abs=step)


def one_step(plan):
    """Diffusion that is trained for a step."""
    model = plan.models["diffusion"]
    return replace(model, runs={stage: shortened(run, 1) for stage, run in model.runs.items()})


@pytest.mark.parametrize(("budget", "share"), [(4.0, 0.5), (9.0, 1.5), (0.5, 0.0)])
def test_of_fewer_seconds_fewer_tokens_are_drawn_but_never_more(budget, share, images, tmp_path, monkeypatch):
    """Preparing takes 0.5, 0.5 and 2 s, of which the last is drawing; all steps of the stages take 1, 2 and 1 s."""
    plan = comparison(str(images), preset="digits", size=8, models=["var"], seconds=budget)
    runs = plan.models["var"].runs
    steps = {stage: run.training.steps for stage, run in runs.items()}
    paces = iter(
        {"prepare_seconds": prepare, "step_seconds": whole / steps[stage]}
        for stage, prepare, whole in zip(STAGES, (0.5, 0.5, 2.0), (1.0, 2.0, 1.0), strict=True)
    )
    monkeypatch.setattr(seconds, "pace", lambda *_: next(paces))
    monkeypatch.setattr(CONTENDERS["var"], "job", lambda *_: None)
    monkeypatch.setattr(seconds, "carry_out", serially)
    made = seconds.equal_seconds(Place(root=tmp_path / "stages", plan=plan, device="cpu")).models["var"].runs
    for stage, run in made.items():
        assert run.training.steps == max(1, round(steps[stage] * share))
    shorter = min(made["decoder"].training.steps / steps["decoder"], 1.0)
    assert made["decoder"].samples == round(runs["decoder"].samples * shorter)
