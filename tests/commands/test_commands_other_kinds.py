"""A model of another kind, an unfinished run and a folder without a model: the command line says what to do."""

import pytest
from PIL import Image
from tiny import tiny_classifier, tiny_vqvae

from diffusion_baseline import DiffusionPipeline
from var import VARPipeline
from var.autoencoder import Autoencoder, AutoencoderConfig
from var.errors import UserError
from var.hub.kinds import OtherKindError, remedies, saved_name
from var.recipes.fine_tuning import load_start, load_tokenizer

COMMANDS = {
    ("var", "generate"): [],
    ("var", "edit"): ["--images", "image.png", "--keep-scales", "1"],
    ("diffusion_baseline", "generate"): [],
    ("diffusion_baseline", "edit"): ["--images", "image.png"],
}


@pytest.fixture
def refused(command, tmp_path, monkeypatch):
    """What a command says of a model."""
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8)).save("image.png")

    def refused(package, name, *argv):
        code, out, err = command(package, name, *argv)
        assert (code, out, err.count("\n")) == (2, "", 1)
        return err

    return refused


@pytest.fixture
def single(tmp_path):
    """Folders of single models: a tokenizer, an autoencoder, a classifier of noisy images."""
    size = {"image_size": 8, "in_channels": 1, "base_channels": 8, "channel_multipliers": (1,), "width": 2}
    autoencoder = Autoencoder(AutoencoderConfig(**size, residual_blocks=1, attention=False, norm_groups=4))
    models = {"vq": tiny_vqvae(), "latent": autoencoder, "guide": tiny_classifier()}
    for name, model in models.items():
        model.save_pretrained(tmp_path / "runs" / name)
    return {name: f"runs/{name}" for name in models}


@pytest.mark.parametrize(("package", "name"), COMMANDS)
def test_an_unfinished_run_is_told_in_the_words_of_training(refused, tmp_path, package, name):
    run = tmp_path / "half"
    (run / "checkpoints").mkdir(parents=True)
    (run / "run.yaml").write_text("run: {kind: transformer}")
    err = refused(package, name, "--model", "half", *COMMANDS[package, name])
    assert "the run in half must be finished to be used, but it is not; start it again to its end" in err
    (run / "finished.json").write_text("{}")
    err = refused(package, name, "--model", "half", *COMMANDS[package, name])
    assert "half holds no model, it holds checkpoints, finished.json, run.yaml; give the folder of a" in err


@pytest.mark.parametrize("pipeline", [VARPipeline, DiffusionPipeline])
def test_a_folder_without_a_model_is_said_to_have_none_and_what_it_has(pipeline, tmp_path):
    with pytest.raises(UserError, match=r"pipeline_index.json must be .*: .* holds no model, it is empty; give the f"):
        pipeline.from_pretrained(tmp_path)
    for name in range(5):
        (tmp_path / f"{name}.png").touch()
    with pytest.raises(UserError, match=r"holds no model, it holds 0.png, 1.png, 2.png and 2 more; give"):
        pipeline.from_pretrained(tmp_path)


@pytest.mark.parametrize(("package", "name"), COMMANDS)
def test_the_model_of_the_other_package_is_refused_with_its_command(refused, saved, package, name):
    classes = {"var": "VARPipeline", "diffusion_baseline": "DiffusionPipeline"}
    other = next(each for each in classes if each != package)
    err = refused(package, name, "--model", saved[other], *COMMANDS[package, name])
    assert f"must be of class '{classes[package]}'" in err or "or 'CascadePipeline'" in err
    assert f"got '{classes[other]}'" in err
    assert f"use `{'var' if other == 'var' else 'python -m diffusion_baseline'} generate`" in err


def test_single_models_are_refused_with_what_they_are_for(refused, single):
    train = "it is a tokenizer; train a transformer on it first: var train transformer DATA --vqvae runs/vq"
    assert train in refused("var", "generate", "--model", single["vq"])
    for stage in ("decoder", "transformer"):
        options = ["digits", "--preset", "emoji-32" if stage == "decoder" else "digits", "--output", "out"]
        vqvae = ["--vqvae", single["vq"]] if stage == "transformer" else []
        assert train in refused("var", "train", stage, *options, *vqvae, "--init", single["vq"])
    assert "var train transformer DATA --vqvae runs/vq" in refused(
        "diffusion_baseline", "generate", "--model", single["vq"]
    )
    for package in ("var", "diffusion_baseline"):
        assert "diffusion_baseline train DATA --codec runs/latent" in refused(
            package, "generate", "--model", single["latent"]
        )
    assert "give it by --classifier" in refused("diffusion_baseline", "generate", "--model", single["guide"])
    options = ["digits", "--preset", "digits", "--output", "out", "--init", single["vq"]]
    assert "it is a tokenizer" in refused("diffusion_baseline", "train", *options)


def test_a_pipeline_without_a_tokenizer_is_none(saved):
    with pytest.raises(UserError, match="must hold a tokenizer, got a DiffusionPipeline; give the run of"):
        load_tokenizer(str(saved["diffusion_baseline"]), (1, 2, 3))
    with pytest.raises(UserError, match="use `python -m diffusion_baseline generate`"):
        load_start(str(saved["diffusion_baseline"]))


def test_what_has_no_remedy_keeps_that_for_programmers():
    with pytest.raises(OtherKindError, match=r"^a must be b; import it$"), remedies({"x": "use x"}):
        raise OtherKindError("a must be b", "c", "import it")
    with pytest.raises(OtherKindError, match=r"^a must be b; use x$"), remedies({"x": "use x"}):
        raise OtherKindError("a must be b", "x", "import it")


def test_a_file_that_names_no_class_says_nothing(tmp_path):
    (tmp_path / "pipeline_index.json").write_text("{}")
    assert saved_name(tmp_path) == ""
    (tmp_path / "config.json").write_text('{"class": "VQVAE"}')
    assert saved_name(tmp_path) == "VQVAE"
