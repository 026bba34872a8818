"""A comparison of a folder of images, and of models that are trained already, in one process and on tiny networks."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import compare as script
import numpy as np
import pytest
import torch
from comparison import judging
from comparison import run as running
from comparison.assemble import over_seeds
from comparison.contenders import CONTENDERS
from comparison.data import DataSet, evenly, real_images
from comparison.sampling import asked, asked_places, sample_labels, sample_prompts
from comparison.schedule import Place
from comparison.settings import comparison, usual_preset
from comparison.stages import Stage
from comparison.trained import comparison_of, labels_of, load_trained
from comparison.training import check_batches
from PIL import Image
from tiny import tiny_pipeline
from tiny_comparison import patch, serially

from diffusion_baseline import DiffusionPipeline
from var import VARPipeline
from var.data import ArrayData
from var.data.base import fingerprint
from var.data.entries import RECORD
from var.errors import UserError
from var.evaluation import text_judging
from var.terms import Terms

CLASSES = ("disc", "frame", "line")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of three classes of 10 colour images of 8 pixels."""
    folder, draw = tmp_path_factory.mktemp("data") / "my-images", np.random.default_rng(0)
    for place, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            pixels = draw.integers(0, 90, (8, 8, 3), dtype=np.uint8)
            pixels[2:6, 2:6, place] += 150
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    (folder / RECORD).write_text(json.dumps({"licence": "CC BY 4.0", "attribution": "Drawn by chance."}))
    return folder


def few_images(images, folder):
    """Two classes of four images each."""
    for name in CLASSES[:2]:
        (folder / name).mkdir()
        for number in range(4):
            (folder / name / f"{number}.png").symlink_to(images / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def compared(images, tmp_path_factory):
    """Runs a comparison within this process, and gives what it wrote and printed."""
    with pytest.MonkeyPatch.context() as changes:
        changes.setattr("comparison.processes.start_server", lambda: None)
        for module in (judging, running):
            changes.setattr(module, "carry_out", serially)
        patch(changes.setattr)

        def compare(capsys, *arguments, output):
            code = script.main([*map(str, arguments), "--output", str(output), "--device", "cpu"])
            said = capsys.readouterr()
            assert code == 0, said.err
            return json.loads((output / "report.json").read_text()), said

        yield compare


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("outputs")


def test_a_folder_of_images_is_compared_from_end_to_end(compared, images, folder, capsys):
    options = ("--preset", "digits", "--size", "8", "--sweep")
    report, said = compared(capsys, images, *options, output=folder / "first")
    assert "the data have no split 'test': 6 images" in said.err
    assert "the data have no other split 'val': 3 images" in said.err
    assert "FD-my-images" in said.out
    assert report["settings"]["chosen_on"] == "3 validation images, among 1 setting of VAR and 2 settings of diffusion"
    assert "6 images of" in report["settings"]["reference"]
    for row in report["results"]:
        assert row["samples"] == 6
        assert row["fd_ratio"] > 0
        assert row["fd_second_ratio"] > 0
    tokenizer = report["tokenizer"]
    assert tokenizer["bits_per_image"] == tokenizer["tokens"] * np.log2(tokenizer["vocabulary"]) > 0
    assert {"real_images", "class_gaussian", "token_marginals"} <= set(report["controls"])
    page = (folder / "first" / "report.html").read_text()
    assert "- Licence of the data: CC BY 4.0\n- Attribution of the data: Drawn by chance." in said.out
    for text in ("FDr", "Bits per image", "were chosen on 3 validation images", "CC BY 4.0", "Drawn by chance."):
        assert text in page
    for name, cls in (("var", VARPipeline), ("diffusion", DiffusionPipeline)):
        assert tuple(cls.from_pretrained(folder / "first" / "models" / name).class_names) == CLASSES


def test_a_trained_model_alone_is_compared_without_training(compared, images, folder, capsys):
    model = folder / "first" / "models" / "diffusion"
    pipeline = DiffusionPipeline.from_pretrained(model)
    assert pipeline.terms == ("CC BY 4.0", "Drawn by chance.")
    pipeline.terms = Terms("CC BY-SA 4.0", "Drawn elsewhere.")
    pipeline.save_pretrained(model := folder / "elsewhere")
    report, said = compared(capsys, "--runs", model, "--reference", images, output=folder / "second")
    assert {row["model"] for row in report["results"]} == {"diffusion"}
    assert all(row["train_seconds"] is None for row in report["results"])
    assert report["settings"]["equal"].startswith("nothing")
    # Nothing is known of what it was trained on: half of the images judge, and no copies are looked for.
    assert report["results"][0]["samples"] == 15
    assert report["results"][0]["nearest_train_distance"] is None
    assert report["tokenizer"] == {}
    assert "Diffusion alone" in said.out
    assert "Attribution of the data: Drawn by chance." in said.out
    page, terms = (folder / "second" / "report.html").read_text(), "CC BY-SA 4.0. Drawn elsewhere."
    assert "that were trained elsewhere, judged on" in page
    assert f"What diffusion was trained on: {terms}" in said.out
    assert f"What diffusion was trained on: {terms}" in page


def test_what_captions_say_is_trained_asked_for_and_judged(compared, images, tmp_path, capsys, monkeypatch):
    few = partial(text_judging.train_image_text, steps=2)
    monkeypatch.setattr(text_judging, "train_image_text", few)
    monkeypatch.setattr(text_judging, "retrieval", partial(text_judging.retrieval, among=4))
    shutil.copytree(images, tmp_path / "data")
    for number, file in enumerate(sorted((tmp_path / "data").rglob("*.png"))):
        file.with_suffix(".txt").write_text(f"picture {number} of a {file.parent.name}")
    options = ("--preset", "shapes-text-32", "--models", "var")
    report, _ = compared(capsys, tmp_path / "data", *options, output=tmp_path / "first")
    judged = [*report["results"], report["controls"]["real_images"]]  # real ones say what the judge is worth
    assert all(0 <= row["retrieval"] <= 1 for row in judged)
    model = tmp_path / "first" / "models" / "var"
    pipeline = VARPipeline.from_pretrained(model)
    assert pipeline.settings()["text_encoder"]["name"] == "minilm"
    plan = comparison_of([str(model)], str(tmp_path / "data"))
    wanted = asked(plan, "test", pipeline, "var").call()
    assert wanted == {"class_labels": None, "prompt": sample_prompts(plan)}
    part = plan.data.part("test")
    assert sample_prompts(plan) == [part.captions[place] for place in asked_places(plan, "test").tolist()]
    with pytest.raises(UserError, match="images that show a text must have captions, got none in"):
        comparison_of([str(model)], str(images))


def test_families_without_a_name_are_refused(capsys):
    assert script.main(["emoji", "--models", ","]) == 2
    assert "unknown" in capsys.readouterr().err


def test_training_seeds_are_chosen_for_together_and_told_one_by_one(compared, images, tmp_path, capsys):
    options = ("--preset", "digits", "--size", "8", "--models", "diffusion", "--sweep")
    report, said = compared(capsys, images, *options, "--seeds", "2", output=tmp_path)
    assert report["settings"]["chosen_on"] == "3 validation images, among 2 settings of diffusion"
    first, second = ([row for row in report["by_seed"] if row["seed"] == seed] for seed in (0, 1))
    for row, one, two in zip(report["results"], first, second, strict=True):
        assert row["fd"] == pytest.approx((one["fd"] + two["fd"]) / 2)
        assert row["spread"]["fd"] == pytest.approx(abs(one["fd"] - two["fd"]) / 2**0.5)
        assert one["fd"] != two["fd"]
    assert "Of training seed 0:" in said.out
    assert "means over 2 training seeds" in (tmp_path / "report.html").read_text()


def test_rows_of_several_training_seeds_become_one_with_its_spread():
    rows = [{"model": "a", "seed": seed, "fd": fd, "recall": None} for seed, fd in enumerate((1.0, 3.0))]
    assert over_seeds(rows) == {"model": "a", "seed": 0, "fd": 2.0, "recall": None, "spread": {"fd": 2**0.5}}
    assert over_seeds(rows[:1]) == rows[0]


class TestData:
    def test_parts_share_no_image_and_have_the_same_shares(self, images):
        data = DataSet(source=str(images), size=(8, 8), channels=3, validated=True)
        parts = [data.part(name) for name in ("train", "val", "test")]
        found = [part.describe(index) for part in parts for index in range(len(part))]
        assert len(set(found)) == len(found) == 30
        assert torch.bincount(parts[2].labels).tolist() == [2, 2, 2]
        assert data.digest() == DataSet(source=str(images), size=(8, 8), channels=3, validated=True).digest()
        assert fingerprint(parts[0]) != fingerprint(data.part("val"))
        torch.testing.assert_close(parts[2].load_many(torch.tensor([1]))[0], parts[2].load(1))

    def test_a_part_of_its_own_is_taken(self):
        data = DataSet(source="digits", validated=True)
        assert len(data.part("test")) == 297
        assert data.notes == ("the data have no other split 'val': 149 images are held out of 'train'",)

    def test_of_many_images_as_many_are_looked_at_as_fit(self):
        data = DataSet(source="shapes", size=(32, 32))
        real = real_images(data, "test")
        assert data.notes == (
            "controls are made of 5460 of the 50000 training images, and copies are looked for among those",
        )
        assert (len(real), real.total) == (2000, 5000)
        assert set(torch.bincount(real.labels).tolist()) <= {166, 167}

    def test_too_few_images_are_refused_before_anything_is_trained(self, images, tmp_path):
        few = {"size": (8, 8), "channels": 3}
        with pytest.raises(UserError, match="needs 4 images or more to judge by, got 2 held out of"):
            DataSet(source=str(few_images(images, tmp_path)), **few).part("test")
        with pytest.raises(UserError, match="needs 6 training images or more of each class, got 4"):
            DataSet(source=str(tmp_path), trained_on=False, **few).part("test")

    def test_a_batch_of_the_preset_must_be_there(self, images):
        plan = comparison(str(images), preset="digits", size=8)

        def batches_of(size):
            run = plan.models["var"].runs["tokenizer"]
            run = replace(run, training=replace(run.training, batch_size=size))
            return replace(plan, models={"var": replace(plan.models["var"], runs={"tokenizer": run})})

        check_batches(batches_of(24))
        with pytest.raises(UserError, match="needs 25 training images or more, a batch of the preset 'digits', got 24"):
            check_batches(batches_of(25))

    def test_a_rare_class_keeps_two_of_many_images(self):
        labels = torch.tensor([0] * 996 + [1] * 4)
        assert torch.bincount(labels[evenly(labels, 100, "a", 2)]).tolist() == [100, 2]

    def test_places_are_drawn_by_class(self):
        labels = torch.tensor([0] * 90 + [1] * 10)
        places = evenly(labels, 20, "a")
        assert torch.bincount(labels[places]).tolist() == [18, 2]
        assert torch.equal(places, evenly(labels, 20, "a"))
        assert not torch.equal(places, evenly(labels, 20, "b"))

    @pytest.mark.parametrize(
        ("source", "size", "found"),
        [("digits", None, "digits"), ("shapes", None, "shapes-32"), ("my-images", None, "shapes-32")],
    )
    def test_the_usual_preset_is_called_after_the_data(self, source, size, found):
        assert usual_preset(source, size, ["digits", "shapes-32", "unet-32"]) == found
        assert usual_preset("emoji?tones=yes", 64, ["emoji-32", "emoji-64"]) == "emoji-64"


def test_scores_without_copies_are_kept_apart_from_those_with(images, tmp_path, monkeypatch):
    """Models of elsewhere are judged by the same parts of data with splits, and copies are not looked for."""
    plan, keys = comparison(str(images), preset="digits", size=8), []
    monkeypatch.setattr(judging, "_evaluator", lambda *_: None)
    judge = Stage("judge", tmp_path, {}, reused=True)
    for trained_on in (True, False, True):
        place = Place(
            root=tmp_path / "stages", plan=replace(plan, data=replace(plan.data, trained_on=trained_on)), device="cpu"
        )
        keys.append(judging._judged(place, "controls", (judge, judge), lambda _: {}).key)
    assert keys[0] == keys[2] != keys[1]


class TestTrained:
    @pytest.fixture
    def pipelines(self, folder):
        return {name: folder / "first" / "models" / name for name in ("var", "diffusion")}

    def test_classes_are_found_by_name(self, pipelines, images):
        pipeline = VARPipeline.from_pretrained(pipelines["var"])
        data = DataSet(source=str(images), size=(8, 8), channels=3).part("train")
        pipeline.class_names = ("line", "disc", "frame")
        assert labels_of(CONTENDERS["var"], pipeline, data, "x").tolist() == [1, 2, 0]
        pipeline.class_names = None
        assert labels_of(CONTENDERS["var"], pipeline, data, "x").tolist() == [0, 1, 2]
        pipeline.class_names, sorted_as_texts = ("0", "1", "2"), ("0", "2", "1")
        numbered = ArrayData(torch.zeros(3, 3, 8, 8), [0, 1, 2], sorted_as_texts)
        assert labels_of(CONTENDERS["var"], pipeline, numbered, "x").tolist() == [0, 2, 1]
        pipeline.class_names = ("line", "disc", "cat")
        with pytest.raises(UserError, match=r"does not know frame; its own are line, disc, cat"):
            labels_of(CONTENDERS["var"], pipeline, data, "x")

    def test_samples_are_asked_for_in_the_models_own_numbers(self, pipelines, images, tmp_path):
        pipeline = VARPipeline.from_pretrained(pipelines["var"])
        pipeline.class_names = ("line", "disc", "frame")
        pipeline.save_pretrained(tmp_path / "other")
        plan = comparison_of([str(tmp_path / "other")], str(images))
        labels = asked(plan, "test", pipeline, "var").call()["class_labels"]
        wanted = [CLASSES[label] for label in sample_labels(plan)]
        assert [pipeline.class_names[label] for label in labels] == wanted
        assert len(set(wanted)) == 3

    def test_a_run_has_its_best_weights_and_its_own_settings(self, folder):
        (run,) = (folder / "first" / "stages").glob("transformer-*/model")
        pipeline, settings = load_trained(CONTENDERS["var"], str(run))
        assert settings.sampling.guidance_scale == 1.0
        with torch.no_grad():
            pipeline.transformer.position.add_(1)
        pipeline.transformer.save_pretrained(run / "checkpoints" / "best")
        again, _ = load_trained(CONTENDERS["var"], str(run))
        assert torch.equal(again.transformer.position, pipeline.transformer.position)

    def test_a_model_that_comes_along_is_compared_with_its_twin(self, tmp_path, monkeypatch):
        plan = comparison_of(["next-scale/digits"], "digits")
        assert [(key, Path(model.trained).parts[-3:]) for key, model in plan.models.items()] == [
            ("var", ("var", "models", "digits")),
            ("diffusion", ("diffusion_baseline", "models", "digits")),
        ]
        assert [*plan.models] == ["var", "diffusion"]
        own = VARPipeline.from_pretrained("next-scale/digits")
        own.save_pretrained(tmp_path / "own")
        plan = comparison_of(["next-scale/digits", str(tmp_path / "own")], "digits")  # its twin alone is meant
        assert {key: Path(model.trained).name for key, model in plan.models.items()} == {
            "var": "own", "diffusion": "digits"
        }  # fmt: skip
        with pytest.raises(UserError, match="one model of each family"):
            comparison_of(["next-scale/digits", "next-scale/emoji"], "digits")
        # A folder comes first, as wherever models are named.
        monkeypatch.chdir(tmp_path)
        own.save_pretrained(tmp_path / "next-scale" / "digits")
        assert [*comparison_of(["next-scale/digits"], "digits").models] == ["var"]
        with pytest.raises(UserError, match=r"got 'next-scale/none' without .*comes along, next-scale/digits, "):
            comparison_of(["next-scale/none"], "digits")

    def test_what_does_not_fit_is_refused(self, pipelines, images, tmp_path):
        var = str(pipelines["var"])
        with pytest.raises(UserError, match=r"judged by real images, got none for .*; add --reference DATA"):
            comparison_of([var], None)
        with pytest.raises(UserError, match="one model of each family can be compared"):
            comparison_of([var, var], str(images))
        with pytest.raises(UserError, match="channels of the models, 3, got 1 in digits"):
            comparison_of([var], "digits")
        smaller = tiny_pipeline()  # of 6x6 pixels
        smaller.save_pretrained(tmp_path / "smaller")
        with pytest.raises(UserError, match="the models' 6x6 pixels, got 8x8 in digits; name other data"):
            comparison_of([str(tmp_path / "smaller")], "digits")
        with pytest.raises(UserError, match="no such folder"):
            comparison_of([var], str(tmp_path / "nowhere"))
        with pytest.raises(UserError, match="--runs must name folders of trained models"):
            comparison_of([str(tmp_path)], str(images))
        for name in ("a", "b"):
            (tmp_path / "two").mkdir(exist_ok=True)
            (tmp_path / "two" / name).symlink_to(images / "disc")
        with pytest.raises(UserError, match="must have the 2 classes of the reference, got 3"):
            comparison_of([var], str(tmp_path / "two"))
