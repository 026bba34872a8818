"""Runs on captions through both command lines: what is told, kept, saved, refused; and images drawn in words."""

import importlib

import pytest
import torch
import yaml
from small_pictures import picture
from tiny import tiny_diffusion_pipeline, tiny_vqvae
from tiny_text import save_text_model

from diffusion_baseline import DiffusionPipeline
from diffusion_baseline.cli import main
from var import VARPipeline
from var.sampling.record import read_record

CAPTIONS = ("a red circle", "a large blue square", "a red square on blue ground")
QUICK = ("training.steps=2", "training.batch_size=4", "training.log_every=1", "evaluation.every=2")
QUICK += ("evaluation.samples=4", "evaluation.grid=4", "evaluation.judge_steps=2")
KINDS = {
    "transformer": ("var", ("transformer",), (*QUICK, "transformer.width=16", "tokens.variants=1"), VARPipeline),
    "diffusion": ("diffusion_baseline", (), (*QUICK, "unet.base_channels=8", "num_timesteps=4"), DiffusionPipeline),
    "vqvae": ("var", ("vqvae",), (), None),
}
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


@pytest.mark.parametrize("kind", MODELS)
def test_a_whole_run_in_words(kind, places, train, tmp_path, capsys):
    text, run = f"data.text=hf:{places / 'text'}", tmp_path / "run"
    code, out, err = train(kind, run, text, "data.class_labels=false", more=["--plan"])
    assert code == 0, err
    assert f"captions are read by hf:{places / 'text'} (vectors of width 6), shown without the class" in out
    assert not run.exists()
    code, out, err = train(kind, run, text, "data.class_labels=false")
    assert (code, "finished 2 steps" in out) == (0, True), err
    told = yaml.safe_load((run / "run.yaml").read_text())
    pipe = KINDS[kind][3].from_pretrained(run)
    assert (told["data"]["text"], told["data"]["class_labels"]) == (f"hf:{places / 'text'}", False)
    assert told["run"]["text_encoder"] == pipe.text_encoder.digest
    assert (pipe.settings()["text_encoder"]["name"], pipe.class_names) == (f"hf:{places / 'text'}", ())
    vectors = pipe.text_encoder(CAPTIONS).vectors
    assert torch.equal(pipe(prompt=CAPTIONS, **CALL).images, pipe(vectors=vectors, **CALL).images)
    assert len(list((run / "texts").glob("*.safetensors"))) == 1  # both splits have the same texts
    assert 'prompt=["' in pipe._asked
    refused = {
        "data.text was": train(kind, run, f"data.text=hf:{places / 'other'}", "data.class_labels=false"),
        "data.class_labels was": train(kind, run, text),
        "data.text is fixed by the weights to start from": train(kind, tmp_path / "tuned", more=["--init", run]),
        "unknown text encoder 'minlm'; did you mean": train(kind, tmp_path / "tuned", "data.text=minlm"),
        "class_labels must be true where no text is shown": train(kind, run, "data.class_labels=false"),
    }
    for message, (code, _, err) in refused.items():
        assert (code, message in err, err.count("\n")) == (2, True, 1), err
    other = f"data.text=hf:{places / 'other'}"
    assert "got 'hf:" in train(kind, tmp_path / "tuned", other, "data.class_labels=false", more=["--init", run])[2]
    assert not (tmp_path / "tuned" / "run.yaml").exists()
    _check_drawing(kind, run, tmp_path, capsys)


def _check_drawing(kind, run, folder, capsys):
    """`generate` of the trained model."""

    def generate(*argv):
        argv = ("generate", "--model", run, "--device", "cpu", "--quiet", *argv)
        code = importlib.import_module(f"{KINDS[kind][0]}.cli").main([str(each) for each in argv])
        return code, capsys.readouterr().err

    assert generate("--prompt", " a red  circle", "--seeds", "0-1", "--output", folder / "one") == (0, "")
    record = read_record(folder / "one" / "1.png")
    assert (record["prompt"], record["class_label"]) == ("a red circle", None)
    assert record["text_encoder"] == KINDS[kind][3].from_pretrained(run).text_encoder.digest
    (folder / "texts.txt").write_text("a red circle\r\nA large blue SQUARE!\n")
    many = ("--prompts", folder / "texts.txt", "--seeds", "0-2", "--output", folder / "many")
    assert generate(*many, "--grid", folder / "grid.png") == (0, "")
    assert sorted(path.name for path in (folder / "many").iterdir()) == ["0-a-red-circle", "1-a-large-blue-square"]
    assert read_record(folder / "many" / "1-a-large-blue-square" / "2.png")["prompt"] == "A large blue SQUARE!"
    assert (folder / "many" / "0-a-red-circle" / "1.png").read_bytes() != b""
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
