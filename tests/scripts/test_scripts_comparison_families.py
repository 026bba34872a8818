"""Every family of generative models: trained for the same seconds, judged alike, told of in words."""

import itertools
from dataclasses import replace

import compare as script
import numpy as np
import pytest
import torch
from comparison import judging, seconds, settings
from comparison import run as running
from comparison.contenders import chosen_models
from comparison.data import grey_levels
from comparison.families import FAMILIES
from comparison.families.family import Family
from comparison.families.model import Sampling, bits_of_density, dequantized
from comparison.families.pixels import PixelCNN, PixelConfig
from comparison.report.fairness import level
from comparison.report.families import ranking, said_of_families
from comparison.report.page import page
from comparison.report.picture_sections import Pictures
from comparison.report.results import Report
from comparison.report.verdict import verdict, winners
from comparison.schedule import Place
from comparison.seconds import equal_seconds
from comparison.settings import comparison
from PIL import Image
from tiny_comparison import serially

from var.conditions import Condition
from var.data import digits
from var.data.arrays import ArrayData
from var.randomness import keyed_generator, keyed_global_stream


def tiny_pixels(**changes):
    size = {"channels": 1, "height": 2, "width": 2, "num_classes": 2, "levels": 2} | changes
    with keyed_global_stream("pixels", 0):
        return PixelCNN(PixelConfig(**size, hidden=8, layers=2, mixtures=3)).eval()


class TestPixels:
    @pytest.mark.parametrize(("channels", "height", "width", "levels"), [(1, 2, 2, 2), (3, 1, 2, 2), (1, 1, 2, 17)])
    def test_probabilities_of_all_images_sum_to_one(self, channels, height, width, levels):
        network = tiny_pixels(channels=channels, height=height, width=width, levels=levels).double()
        values = torch.linspace(-1, 1, levels, dtype=torch.float64).tolist()
        numbers = channels * height * width
        images = torch.tensor(list(itertools.product(values, repeat=numbers)), dtype=torch.float64)
        images = images.view(-1, channels, height, width)
        for label in (0, 1):
            labels = torch.full((len(images),), label)
            with torch.no_grad():
                bits = network.bits_per_dimension(images, labels, torch.Generator()) * numbers
            assert float((-bits).exp2().sum()) == pytest.approx(1, abs=1e-9)

    def test_what_is_drawn_pixel_by_pixel_is_what_the_whole_image_is_told(self):
        """Every mixture of the sampler, which sees a part of the image, is that of the pass over all of it."""
        network = tiny_pixels(channels=3, height=5, width=4, levels=256)
        images = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
        label = network.label(Condition.of(torch.tensor([0, 1])))
        whole = network.beside(images, network.above(images, label), label)
        above = network.above(images[:, :, 1:5], label)  # three rows above the last one are all that it sees
        told = [part[:, :, -1:, :3] for part in above]
        some = network.beside(images[:, :, 4:, :3], told, label)
        for one, other in zip(some, whole, strict=True):
            assert torch.allclose(one[..., 0, 2], other[..., 4, 2], atol=1e-5)

    def test_frequencies_of_samples_are_the_probabilities(self):
        network = tiny_pixels()
        generators = [keyed_generator("sample", i) for i in range(2000)]
        with torch.no_grad():
            drawn = network.sample(torch.zeros(2000, dtype=torch.long), generators, Sampling())
            images = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4))).view(-1, 1, 2, 2)
            bits = network.bits_per_dimension(images, torch.zeros(16, dtype=torch.long), torch.Generator())
        found = (drawn[:, None] == images[None]).all(dim=(2, 3, 4)).float().mean(0)
        assert torch.allclose(found, (-bits * 4).exp2(), atol=0.04)  # four standard errors

    def test_an_image_depends_on_its_own_seed_only(self):
        network = tiny_pixels(height=3, levels=17)
        with torch.no_grad():
            several = network.sample(torch.tensor([0, 1, 0]), [keyed_generator("a", i) for i in range(3)], Sampling())
            alone = network.sample(torch.tensor([1]), [keyed_generator("a", 1)], Sampling())
        assert torch.allclose(several[1], alone[0])


def test_uniform_noise_on_grey_levels_costs_what_they_are_worth():
    """The density that is flat over all levels and their noise gives each level its share."""
    levels = 17
    images = torch.randint(levels, (50, 1, 4, 4), generator=torch.Generator().manual_seed(0)) / 8 - 1
    noisy = dequantized(images, levels, torch.Generator().manual_seed(1))
    assert (noisy - images).abs().max() <= 1 / 16
    flat = -torch.full((50,), 16 * torch.tensor(2 + 2 / 16).log())
    assert torch.allclose(bits_of_density(flat, images, levels), torch.tensor(levels).log2())


def test_grey_levels_are_read_off_the_images():
    assert grey_levels(digits("train")) == 17
    generator = torch.Generator().manual_seed(0)
    bytes_ = torch.randint(256, (40, 1, 4, 4), generator=generator) / 127.5 - 1
    labels = torch.zeros(40, dtype=torch.long).numpy()
    assert grey_levels(ArrayData(bytes_, labels, classes=["a"], name="bytes")) == 256


def test_small_families_say_what_they_are():
    assert len({each.color for each in FAMILIES.values()}) == len(FAMILIES)
    for family in FAMILIES.values():
        assert family.cannot
        if isinstance(family, Family):
            plan = family.plan("digits", digits("train"))
            assert plan.headline in plan.grid
            assert all(len(family.sampler(each).split()) == 1 for each in plan.grid)


def small(plan):
    """The comparison with hardly any work."""

    def smaller(run):
        run = replace(run, training=replace(run.training, batch_size=8))
        if hasattr(run, "tokens"):
            run = replace(run, tokens=replace(run.tokens, variants=1))
            run = replace(run, transformer=replace(run.transformer, depth=1, width=32, heads=2))
        if hasattr(run, "vqvae"):
            run = replace(run, vqvae=replace(run.vqvae, base_channels=4, norm_groups=2))
        network = getattr(run, "network", None)
        return replace(run, network=replace(network, hidden=8, layers=2)) if hasattr(network, "hidden") else run

    models = {
        key: replace(one, runs={name: smaller(run) for name, run in one.runs.items()})
        for key, one in plan.models.items()
    }
    few = {"judge_steps": 4, "generation_seeds": 2, "timing_images": 2, "timing_repeats": 1, "most_samples": 12}
    judges = {name: replace(getattr(plan, name), widths=(8, 8, 8, 16)) for name in ("judge", "second_judge")}
    return replace(plan, models=models, seconds=0.3, **few, **judges)


@pytest.fixture
def quick(monkeypatch):
    """Comparisons in this process, of hardly any work."""
    usual = settings.judged
    monkeypatch.setattr(settings, "judged", lambda *arguments, **changes: small(usual(*arguments, **changes)))
    monkeypatch.setattr("comparison.processes.start_server", lambda: None)
    for module in (judging, running, seconds):
        monkeypatch.setattr(module, "carry_out", serially)
    for module, name, value in ((seconds, "WARM_UP", 1), (seconds, "LEAST", 1)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(seconds, "ENOUGH", 0.0)


@pytest.fixture
def images(tmp_path):
    """A folder of two classes of 12 colour images of 8 pixels."""
    draw = np.random.default_rng(0)
    for place, name in enumerate(("frame", "line")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(12):
            pixels = draw.integers(0, 90, (8, 8, 3), dtype=np.uint8)
            pixels[2:6, 2:6, place] += 150
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path / "images"


def test_families_are_trained_and_judged_and_go_on_with_their_steps(quick, images, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "families"
    arguments = [str(images), "--preset", "digits", "--families", "--models", "raster,pixels", "--seconds", "1"]
    arguments += ["--output", str(folder), "--device", "cpu"]
    assert script.main(arguments) == 0
    out = capsys.readouterr().out
    assert "Pixel AR draws no two pixels at once" in out
    assert max(map(len, out.split("\n- ")[0].splitlines())) <= 100
    report = Report.from_json(folder / "report.json")
    rows = report.headlines()
    assert list(rows) == ["raster", "pixels"]
    assert {model: row["likelihood"] for model, row in rows.items()} == {"raster": "of tokens", "pixels": "exact"}
    assert all(0 < row["bits_per_dimension"] < 20 and row["bits_error"] > 0 for row in rows.values())
    assert {model: row["nfe"] for model, row in rows.items()} == {"raster": 16, "pixels": 64}
    page = (folder / "report.html").read_text()
    assert "Every family of generative models on" in page
    assert "Bits\nper\nvalue" in page
    # Whoever goes on measures nothing anew.
    monkeypatch.setattr(seconds, "pace", lambda *_: {"prepare_seconds": 0.0, "step_seconds": 1e-4})
    plan = comparison(str(images), preset="digits", models=["raster", "pixels"], seconds=1.0)
    place = Place(root=folder / "stages", plan=plan, device="cpu", data_digest=plan.data.digest())
    for model, one in equal_seconds(place).models.items():
        for stage, run in one.runs.items():
            told = report.settings["models"][model]["runs"][stage]["training"]
            assert run.training.steps == told["steps"]


def test_stages_share_the_seconds_of_their_model(quick, tmp_path, monkeypatch):
    """Each keeps its part of the time, and what comes before the first step is taken off."""
    paces = iter([(0.02, 0.004), (0.08, 0.001), (0.0, 0.01)])
    monkeypatch.setattr(seconds, "pace", lambda *_: dict(zip(("prepare_seconds", "step_seconds"), next(paces))))  # noqa: B905
    monkeypatch.setattr("comparison.contenders.contender.Contender.job", lambda *_: None, raising=False)
    plan = comparison("digits", models=["raster", "pixels"], seconds=1.0)
    for model in plan.models:
        monkeypatch.setattr(FAMILIES[model], "job", lambda *_: None)
    usual = plan.models["raster"].runs
    made = equal_seconds(Place(root=tmp_path / "stages", plan=plan, device="cpu"))
    steps = {stage: run.training.steps for stage, run in made.models["raster"].runs.items()}
    times = {"tokenizer": 0.004, "transformer": 0.001}
    spent = {stage: steps[stage] * times[stage] for stage in steps}
    assert sum(spent.values()) == pytest.approx(0.3 - 0.1, abs=0.005)
    share = usual["tokenizer"].training.steps * 0.004 / (usual["transformer"].training.steps * 0.001)
    assert spent["tokenizer"] / spent["transformer"] == pytest.approx(share, rel=0.1)
    assert made.models["pixels"].runs["pixels"].training.steps == 30


def test_seconds_and_families_go_together(capsys):
    for arguments, message in (
        (["digits", "--seconds", "5"], "--seconds is for --families, got 5 without"),
        (["digits", "--families", "--equal-flops"], "trainings are equal in one way"),
        (["digits", "--families", "--models", "pixel"], "unknown model 'pixel'; did you mean 'pixels'"),
        (["--runs", "x", "--families"], "--families is about training"),
    ):
        assert script.main(arguments) == 2
        assert message in capsys.readouterr().err


def test_the_help_says_which_families_are_compared():
    assert f"default: {','.join(chosen_models([]))};" in script.MODELS
    left_out = [key for key in FAMILIES if key not in chosen_models([], FAMILIES)]
    assert f"all but {' and '.join(left_out)}," in script.MODELS


def row(model, fd, time, **changes):
    contender = FAMILIES[model]
    scores = dict.fromkeys(("kd", "inception_score", "sharpness", "diversity", "nearest_train_distance"))
    scores |= {"precision": 0.5, "recall": 0.5, "class_consistency": 0.9, "parameters": 1000, "train_seconds": 9.0}
    told = {"model": model, "sampler": next(iter(contender.samplers)), "steps": 4, "guidance_scale": 1.0}
    told |= {"samples": 1000, "seed": 0, "headline": True, "nfe": 4}
    return told | scores | {"fd": fd, "seconds_per_1000_images": time, "likelihood": contender.density} | changes


def said(rows, lead):
    report = Report(
        results=rows,
        controls={},
        tokenizer={},
        environment={},
        settings={"extractor": "digits", "seconds": 5, "seeds": [0]},
    )
    return [sentence for sentence in said_of_families(report) if sentence.startswith(lead)]


class TestWords:
    def test_a_difference_within_the_spread_is_no_win(self):
        first, other = row("var", 1.0, 1.0, spread={"fd": 0.1}), row("pixels", 1.25, 9.0, spread={"fd": 0.1})
        assert not level("fd", first, other)
        assert level("fd", first, other | {"spread": {"fd": 0.2}})
        assert level("fd", row("var", 1.0, 1.0), row("pixels", 1.09, 9.0))
        (sentence,) = said([first, other | {"spread": {"fd": 0.2}}], "Distance:")
        assert "VAR is best, level with pixel AR (within the spread)" in sentence
        (sentence,) = said([first, other], "Distance:")
        assert "VAR is best. In order" in sentence

    @pytest.mark.parametrize("of", [{}, {"seconds": 5}])
    def test_two_trainings_are_level_within_their_spread_whatever_is_compared(self, of):
        still = dict.fromkeys(("fd", "seconds_per_1000_images", "recall", "class_consistency"), 0.0)
        parts = {"controls": {"class_gaussian": {"fd": 9.0}}, "tokenizer": {}, "environment": {}}

        def compared(fd, spread, time, seconds):
            first = row("var", 1.63, 1.0, spread={**still, "fd": 0.13}, likelihood=None)
            spread = {**still, "fd": spread, "seconds_per_1000_images": seconds}
            other = row("diffusion", fd, time, spread=spread, recall=0.51, likelihood=None)
            return Report(results=[first, other], settings={"extractor": "x", "seeds": [0, 1], **of}, **parts)

        won = {"class_consistency": None, "recall": "diffusion"}  # 0.01, within the errors of one training
        wide = compared(2.08, 0.60, 1.05, 0.0)  # 5 percent slower, which one training would call level
        assert winners(wide) == {"fd": None, "seconds_per_1000_images": "var", **won}
        assert winners(compared(2.08, 0.1, 3.0, 2.5)) == {"fd": "var", "seconds_per_1000_images": None, **won}
        summary, *sentences = verdict(wide)
        shared = "Distance is shared by VAR and diffusion; speed goes to VAR"
        assert summary.startswith(
            shared if of else "VAR wins on speed; diffusion wins on recall; they are level on dis"
        )
        (first,) = (each for each in sentences if each.startswith("Distance:"))
        assert "VAR is best, level with diffusion" in first if of else "level, within the spread over train" in first
        assert not any("VAR wins. 1000 images take" in each and "about the same" in each for each in sentences)

    def test_a_page_of_many_gives_numbers_room_and_folds_most_sentences(self):
        rows = [row("var", 1.0, 1.0), row("pixels", 0.7, 1.0), row("diffusion", 0.5, 1.0)]
        parts = {"controls": {"class_gaussian": {"fd": 9.0}}, "tokenizer": {}, "environment": {}}
        dot = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>'
        shown = dict.fromkeys(("var", "pixels", "diffusion"), dot)
        pictures = Pictures(real=dot, samples=shown, processes=[], tradeoff=dot, loss_curves={})
        for of, folded in ({}, False), ({"seconds": 5}, True):
            report = Report(results=rows, settings={"extractor": "x", "seeds": [0], **of}, **parts)
            markup = page(report, pictures)
            section = markup.partition('<section id="verdict">')[2].partition("</section>")[0]
            assert ("tiles broad" in markup) is ("<details>" in section) is folded
            assert section.count("<li>") == len(verdict(report)) - 1
            if folded:
                assert section.partition("<details>")[0].count("<li>") == 4

    def test_likelihoods_of_tokens_are_not_ranked_with_those_of_pixels(self):
        rows = {
            "var": row("var", 1.0, 1.0, bits_per_dimension=0.5, bits_error=0.1),
            "pixels": row("pixels", 1.0, 1.0, bits_per_dimension=1.5, bits_error=0.1),
            "diffusion": row("diffusion", 1.0, 1.0, bits_per_dimension=2.5, bits_error=0.1, bits_estimate=2.0),
        }
        assert [each["model"] for each in ranking(rows, "bits_per_dimension")] == ["pixels", "diffusion"]
        (sentence,) = said([*rows.values()], "Likelihood")
        assert "pixel AR 1.50 (exact), diffusion 2.50 (bound, 2.00 by its ODE)" in sentence

    def test_who_wins_both_at_once_is_said_plainly(self):
        few = row("diffusion", 0.5, 0.5, headline=False, nfe=5)
        rows = [row("var", 1.0, 1.0), row("diffusion", 0.2, 9.0), few, row("pixels", 0.9, 0.9)]
        (sentence,) = said(rows, "VAR's")
        assert "diffusion (unguided DDIM-4 (g=1): 0.500 in 0.500 s) and pixel AR" in sentence
        assert sentence.endswith("win quality and speed together.")
        (sentence,) = said(rows, "Diffusion's")
        assert sentence.endswith("no other family is nearer and faster at once.")

    def test_few_evaluations_are_told_apart(self):
        rows = [row("var", 1.0, 1.0, nfe=20), row("diffusion", 0.5, 1.0, nfe=8), row("pixels", 0.7, 1.0, nfe=2)]
        assert said(rows, "At most 2 ") == [
            "At most 2 network evaluations, the best distance of each: pixel AR 0.700 (unguided Pixel-AR (g=1), "
            "2 evaluations)."
        ]
        (sentence,) = said(rows, "At most 10 ")
        assert "diffusion 0.500" in sentence
        assert "VAR" not in sentence
