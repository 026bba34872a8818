"""Runs on captions through both command lines: what is told, kept, saved, refused; and images drawn in words."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from small_pictures import picture
from tiny import tiny_diffusion_pipeline, tiny_pipeline, tiny_vqvae
from tiny_text import LetterEncoder, save_text_model

from diffusion_baseline import DiffusionPipeline
from diffusion_baseline.cli import main
from diffusion_baseline.job import DiffusionJob
from diffusion_baseline.presets import diffusion_run
from var import VARPipeline
from var.data import open_data
from var.data.base import conditions_at
from var.doctor.caches import look_at_cache
from var.doctor.patient import open_patient
from var.errors import UserError
from var.hub import ModelCard
from var.runs.folder import RunFolder
from var.runs.session import Session
from var.runs.settings import DataSettings
from var.sampling.record import read_record
from var.text import open_encoder
from var.training.distributed import Processes

CAPTIONS = ("a red circle", "a large blue square", "a red square on blue ground")
QUICK = ("training.steps=2", "training.batch_size=4", "training.log_every=1", "evaluation.every=2")
QUICK += ("evaluation.samples=4", "evaluation.grid=4", "evaluation.judge_steps=2")
KINDS = {
    "transformer": ("var", ("transformer",), (*QUICK, "transformer.width=16", "tokens.variants=1"), VARPipeline),
    "diffusion": ("diffusion_baseline", (), (*QUICK, "unet.base_channels=8", "num_timesteps=4"), DiffusionPipeline),
    "vqvae": ("var", ("vqvae",), (), None),
}
MODELS_OF = {"var": VARPipeline, "diffusion_baseline": DiffusionPipeline}
MODELS = ("transformer", "diffusion")
CALL = {"seeds": [0, 1, 2], "output_type": "pt", "progress": False, "guidance_scale": 2.0}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Folders: images with captions and a test split, two encoders, a tokenizer."""
    root = tmp_path_factory.mktemp("texts")
    for split, count in (("train", 8), ("test", 4)):
        for index in range(count):
            path = picture(root / "data" / split / ("ant", "bee")[index % 2] / f"{index}.png", 20 * index, 8)
            path.with_suffix(".txt").write_text(CAPTIONS[index % 3])
    for seed, name in enumerate(("text", "other")):
        save_text_model(root / name, "clip", seed=seed)
    tiny_vqvae(sides=(1, 2, 4)).save_pretrained(root / "vqvae")
    return root


@pytest.fixture
def train(places, capsys):
    """Run `train` of a kind into a folder; returns the exit code and what it wrote."""

    def train(kind, output, *settings, more=(), data=places / "data"):
        package, stage, quick, _ = KINDS[kind]
        options = [part for setting in (*quick, *settings) for part in ("--set", setting)]
        options += ["--vqvae", places / "vqvae"] if kind == "transformer" and "--init" not in more else []
        argv = ["train", *stage, data, "--preset", "digits", "--output", output, "--device", "cpu", "--quiet"]
        code = importlib.import_module(f"{package}.cli").main([str(each) for each in (*argv, *options, *more)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return train


def held_out_captions(places):
    data = open_data(places / "data", split="test", size=8, captions=True)
    return [data.captions[index] for index in range(len(data))]


@pytest.mark.parametrize("kind", MODELS)
def test_a_whole_run_in_words(kind, places, train, tmp_path):
    text, run = f"data.text=hf:{places / 'text'}", tmp_path / "run"
    code, out, err = train(kind, run, text, "data.class_labels=false")
    assert (code, "finished 2 steps" in out) == (0, True), err
    assert f"captions are read by hf:{places / 'text'} (vectors of width 6), shown without the class" in out
    told = yaml.safe_load((run / "run.yaml").read_text())
    pipe = KINDS[kind][3].from_pretrained(run)
    assert (told["data"]["text"], told["data"]["class_labels"]) == (f"hf:{places / 'text'}", False)
    assert told["run"]["text_encoder"] == pipe.text_encoder.digest
    assert (pipe.settings()["text_encoder"]["name"], pipe.class_names) == (f"hf:{places / 'text'}", ())
    vectors = pipe.text_encoder(CAPTIONS).vectors
    assert torch.equal(pipe(prompt=CAPTIONS, **CALL).images, pipe(vectors=vectors, **CALL).images)
    assert len(list((run / "texts").glob("*.safetensors"))) == 1  # both splits have the same texts
    if kind == "transformer":
        patient = open_patient(run, overfit_steps=0, device="cpu", progress=False)
        seen, unseen = patient.trained_on, patient.unseen
        assert seen is not None
        assert unseen is not None
        assert [len(each.condition.vectors) for each in (seen, unseen)] == [8, 4]
        assert torch.equal(unseen.condition.vectors, pipe.text_encoder(held_out_captions(places)).vectors)
    code, _, err = train(kind, tmp_path / "tuned", more=["--init", run])
    assert (code, "data.text is fixed by the weights to start from" in err) == (2, True), err
    assert not (tmp_path / "tuned" / "run.yaml").exists()


def test_a_run_has_one_encoder(places, train, tmp_path):
    run, alone = tmp_path / "run", "data.class_labels=false"
    text, other = (f"data.text=hf:{places / name}" for name in ("text", "other"))
    code, out, err = train("diffusion", run, text, more=["--plan"])
    assert (code, "(vectors of width 6), shown beside the class" in out, run.exists()) == (0, True, False), err
    assert train("diffusion", run, text)[0] == 0
    refused = {
        "data.text was": train("diffusion", run, other),
        "data.class_labels was": train("diffusion", run, text, alone),
        "got 'hf:": train("diffusion", tmp_path / "tuned", other, more=["--init", run]),
        "unknown text encoder 'minlm'; did you mean": train("diffusion", tmp_path / "tuned", "data.text=minlm"),
        "class_labels must be true where no text is shown": train("diffusion", run, alone),
    }
    for message, (code, _, err) in refused.items():
        assert (code, message in err, err.count("\n")) == (2, True, 1), err


@pytest.mark.parametrize("kind", MODELS)
def test_a_start_that_a_bad_caption_ends_leaves_nothing(kind, places, train, tmp_path):
    """With the caption, or the setting, corrected the same command begins the run."""
    data, run = tmp_path / "data", tmp_path / "run"
    for index in range(8):
        path = picture(data / ("ant", "bee")[index % 2] / f"{index}.png", 20 * index, 8)
        path.with_suffix(".txt").write_text(("by day", "by night")[index // 4])
    bad = data / "bee" / "7.txt"
    bad.write_bytes("nächtlich".encode("latin-1"))
    words, more = "data.text=words:by day,by night", {"data": data, "more": ["--on-bad-image", "error"]}
    code, _, err = train(kind, run, words, **more)
    assert (code, f"{bad} must hold a caption" in err) == (2, True), err
    assert [path.name for path in run.iterdir()] == ["listing.json"]  # which spares a look at the images
    bad.write_text("at dawn")
    code, _, err = train(kind, run, words, **more)
    assert (code, (run / "run.yaml").exists()) == (2, False)
    assert f"the caption of {bad.with_suffix('.png')} cannot be read: unknown word of the second label 'at dawn'" in err
    code, out, err = train(kind, run, words, data=data, more=["--on-bad-image", "skip"])
    assert (code, "1 of 8 images were bad" in out) == (0, True), (out, err)
    again = tmp_path / "again"
    assert train(kind, again, words + ",at dawn", **more)[0] == 0


def test_the_doctor_finds_the_tokens_of_images_with_captions_sound(places, train, tmp_path):
    """The cache is of the images, whatever they show."""
    more = ("--set", "tokens.temperature=0.15", "--set", f"data.text=hf:{places / 'text'}")
    assert train("transformer", tmp_path / "run", more=more)[0] == 0
    patient = open_patient(tmp_path / "run", device="cpu", progress=False, overfit_steps=0)
    patient.measured["scales"] = [{}, {}, {}]
    assert list(look_at_cache(patient)) == []
    assert [row["cache_agrees"] for row in patient.measured["scales"]] == [1, 1, 1]


def test_evaluations_show_the_texts_of_held_out_images(places, tmp_path):
    data = open_data(places / "data", size=8, captions=True)
    settings = diffusion_run("shapes-32")
    settings = replace(settings, data=DataSettings(source=str(places / "data"), text="letters"))
    settings = replace(settings, unet=replace(settings.unet, image_size=8, num_classes=2, vector_width=6))
    job = DiffusionJob(settings=settings, data=data, encoder=LetterEncoder())
    folder = RunFolder(tmp_path)
    session = Session(folder=folder, processes=Processes("cpu"), progress=False, workers=0, trackers=())
    shown, judged = job.with_texts(session)
    for images, split in ((shown, "train"), (judged, "test")):
        other = open_data(places / "data", split=split, size=8, captions=True)
        captions = [other.captions[index] for index in range(len(other))]
        condition = conditions_at(images, torch.arange(len(images)))
        assert torch.equal(condition.vectors, LetterEncoder()(captions).vectors)
        assert torch.equal(condition.labels, other.labels)
    with pytest.raises(UserError, match=r"data\.text is the encoder of the captions, 'letters', got none; pass that"):
        replace(job, encoder=None)


@pytest.fixture(scope="module")
def drawn(places, tmp_path_factory):
    """Folders of a saved pipeline of texts for each package."""
    encoder = open_encoder(f"hf:{places / 'text'}")
    folders = {}
    for package, make in (("var", tiny_pipeline), ("diffusion_baseline", tiny_diffusion_pipeline)):
        pipe = make(vector_width=6, num_classes=0)
        pipe.text_encoder = encoder
        folders[package] = tmp_path_factory.mktemp(package) / "model"
        pipe.save_pretrained(folders[package], card=ModelCard())
        page = (folders[package] / "README.md").read_text()
        assert 'pipeline(prompt=["a text like those of the training"] * 2, seeds=[0, 1]).images' in page
    return folders, encoder.digest


@pytest.mark.parametrize("package", ["var", "diffusion_baseline"])
def test_images_are_drawn_in_words(package, drawn, tmp_path, capsys):
    folder, (models, digest) = tmp_path, drawn

    def generate(*argv):
        argv = ("generate", "--model", models[package], "--device", "cpu", "--quiet", *argv)
        code = importlib.import_module(f"{package}.cli").main([str(each) for each in argv])
        return code, capsys.readouterr().err

    assert generate("--prompt", " a red  circle", "--seeds", "0-1", "--output", folder / "one") == (0, "")
    record = read_record(folder / "one" / "1.png")
    assert (record["prompt"], record["class_label"]) == ("a red circle", None)
    assert record["text_encoder"] == digest
    (folder / "texts.txt").write_text("a red circle\r\nA large blue SQUARE!\n")
    many = ("--prompts", folder / "texts.txt", "--seeds", "0-2", "--output", folder / "many")
    assert generate(*many, "--grid", folder / "grid.png") == (0, "")
    assert sorted(path.name for path in (folder / "many").iterdir()) == ["0-a-red-circle", "1-a-large-blue-square"]
    assert read_record(folder / "many" / "1-a-large-blue-square" / "2.png")["prompt"] == "A large blue SQUARE!"
    pipe = MODELS_OF[package].from_pretrained(models[package])
    picture = pipe(prompt="a red circle", seeds=[1], progress=False).images[0]
    with Image.open(folder / "many" / "0-a-red-circle" / "1.png") as found:
        np.testing.assert_allclose(np.asarray(found, int), np.asarray(picture, int), atol=1)
    assert [each["prompt"] for each in read_record(folder / "grid.png")["images"]][2:4] == [
        "a red circle",
        "A large blue SQUARE!",
    ]
    (folder / "texts.txt").write_text("a\n\nb\n")
    refused = {
        "texts.txt, line 2: a text must have 1 to 4096 characters, got an empty one": generate(*many),
        "got an empty one": generate("--prompt", "", "--output", folder / "new" / "er"),
        "the model takes prompts and no class labels, got '0'; pass --prompt": generate(
            "--classes", "0", "--output", folder / "new"
        ),
        "was drawn with prompt = 'a red circle', and now 'a' is asked for": generate(
            "--prompt", "a", "--seeds", "1", "--output", folder / "one"
        ),
    }
    for message, (code, err) in refused.items():
        assert (code, message in err, err.count("\n")) == (2, True, 1), err
    assert not (folder / "new").exists()


def test_a_model_of_vectors_leaves_no_empty_folder(tmp_path, capsys):
    tiny_diffusion_pipeline(vector_width=6).save_pretrained(tmp_path / "model")
    argv = ["generate", "--model", tmp_path / "model", "--output", tmp_path / "a" / "b", "--classes", "1", "--quiet"]
    assert main([str(each) for each in argv]) == 2
    assert "got no vectors; pass vectors too" in capsys.readouterr().err
    page = tiny_diffusion_pipeline(vector_width=6)._asked
    assert page == "class_labels=[0, 1], vectors=[[0.0] * 6] * 2"
    assert not (tmp_path / "a").exists()


def test_captions_are_needed(places, train, tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / "bare" / name / "0.png", 7, 8)
    for kind in MODELS:
        code, _, err = train(kind, tmp_path / kind, f"data.text=hf:{places / 'text'}", data=tmp_path / "bare")
        assert (code, "images that show a text must have captions, got none in" in err) == (2, True), err
        assert not (tmp_path / kind / "run.yaml").exists()


def test_a_tokenizer_is_shown_no_text(train, tmp_path):
    code, _, err = train("vqvae", tmp_path / "run", "data.text=minilm")
    assert (code, "a tokenizer is shown no text, got data.text='minilm'; leave it out" in err) == (2, True), err
