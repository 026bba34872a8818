"""Unknown arguments are refused with the nearest name, types are taken by name: issue 11, "unknown arguments"."""

import numpy as np
import pytest
import torch
from tiny import tiny_diffusion_pipeline, tiny_pipeline, tiny_unet, tiny_vqvae, transformer_config
from tiny_models import Tiny, TinyConfig, assert_same_weights, one_line

from diffusion_baseline import DiffusionPipeline
from var import VAR, VARPipeline
from var.evaluation.features.classifier import Classifier
from var.hub import ModelCard, load_model, save_model

pytestmark = pytest.mark.usefixtures("_untyped")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "given",
    [torch.float16, "float16", "torch.float16", "fp16", "half", "FP16"],
)
def test_torch_dtype_is_another_name_of_dtype_and_texts_are_taken(kept, given):
    for name in ("dtype", "torch_dtype"):
        pipe = VARPipeline.from_pretrained(kept, **{name: given})
        assert pipe.transformer.head.weight.dtype == pipe.vqvae.quant_conv.weight.dtype == torch.float16
    assert VAR.from_pretrained(kept / "transformer", torch_dtype=given).head.weight.dtype == torch.float16


@pytest.mark.parametrize(("given", "kind"), [("bfloat16", "bfloat16"), ("auto", "float32"), ("double", "float64")])
def test_names_of_types(kept, given, kind):
    assert VARPipeline.from_pretrained(kept, dtype=given).transformer.head.weight.dtype == getattr(torch, kind)


def test_the_same_said_twice_is_taken(kept):
    pipe = VARPipeline.from_pretrained(kept, dtype="bf16", torch_dtype=torch.bfloat16)
    assert pipe.transformer.head.weight.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"dtype": torch.float16, "torch_dtype": "fp32"},
            "torch_dtype is another name of dtype, got fp32 and torch.fl",
        ),
        ({"dtype": "float", "torch_dtype": "half"}, "torch_dtype is another name of dtype, got half and float; pass"),
        ({"torch_dtype": "bfloat15"}, "dtype must be a float type, got 'bfloat15'; did you mean 'bfloat16'"),
        ({"dtype": "int8"}, "dtype must be a float type, got 'int8'; choose one of 'auto', 'bf16'"),
        ({"dtype": torch.int8}, "dtype must be a float type, got torch.int8; use torch.float32"),
        ({"dtype": torch.complex64}, "dtype must be a float type, got torch.complex64"),
        ({"dtype": torch.float8_e4m3fn}, "dtype must be a float type, got torch.float8_e4m3fn"),
        ({"dtype": 16}, "dtype must be a float type, got 16"),
        ({"dtype": np.float16}, "dtype must be a float type, got <class 'numpy.float16'>"),
        ({"revison": "v1"}, ".*from_pretrained takes no argument 'revison'; did you mean 'revision'"),
        ({"devcie": "cuda"}, ".*takes no argument 'devcie'; did you mean 'device'"),
        ({"trust_remote_code": True}, ".*takes no argument 'trust_remote_code'; choose one of .*'dtype'"),
        ({"use_safetensors\x1b": True}, r".*takes no argument 'use_safetensors\\x1b'; "),
        ({"device": 1.5}, "device must be a torch.device or a text"),
        (
            {"device": "gpu"},
            "device 'gpu' cannot be used here .no device is called so.; use 'cpu', 'cuda', 'cuda:1' or 'mps'",
        ),
        ({"device": ""}, "device '' cannot be used here"),
        ({"revision": 5}, "revision must be a text or None, got 5"),
        ({"revision": "v9"}, "revision is for a model on the Hub, got 'v9' for the local .*; leave it out"),
        ({"subfolder": 7}, "subfolder must be a text or None, got 7"),
        ({"token": 1.5}, "token must be a text or True or False or None, got 1.5"),
        ({"cache_dir": 5}, "a path must be a text"),
        ({"local_files_only": "yes"}, "local_files_only must be True or False, got 'yes'"),
        ({"progress": "no"}, "progress must be True or False, got 'no'"),
    ],
)
def test_what_no_loading_takes(kept, given, message):
    with one_line(message):
        VARPipeline.from_pretrained(kept, **given)
    for cls in (VAR, DiffusionPipeline, Classifier, Tiny):
        with one_line(message):
            cls.from_pretrained(kept, **given)
    with one_line(message.replace("from_pretrained", "load_model")):
        load_model(VAR, kept / "transformer", **given)


@pytest.mark.parametrize("path", [None, 5, b"x", "", [], "\0", "~nobody-of-that-name/x", "a" * 5000, "p\x1b[2J"])
def test_what_is_no_path(path):
    for cls in (VARPipeline, VAR):
        with one_line("(a path must be a text|a local model must be|a model must be)") as caught:
            cls.from_pretrained(path)
        assert str(caught.value).isprintable()


def test_what_no_saving_and_no_constructor_takes(tmp_path):
    pipe, unet = tiny_pipeline(), tiny_unet()
    with one_line(".*save_pretrained takes no argument 'safe_serialization'; choose one of 'card', 'directory'"):
        pipe.save_pretrained(tmp_path / "new", safe_serialization=False)
    with one_line("save_model takes no argument 'max_shard_sizes'; did you mean 'max_shard_size'"):
        save_model(unet, tmp_path / "new", max_shard_sizes=1)
    with one_line(".*push_to_hub takes no argument 'privat'; did you mean 'private'"):
        pipe.push_to_hub("me/x", privat=True)
    with one_line("private must be True or False, got 'yes'"):
        pipe.push_to_hub("me/x", private="yes")
    with one_line("repo_id must be a text, got None"):
        pipe.push_to_hub(None)
    with one_line("card must be ModelCard or None, got 'x'"):
        unet.save_pretrained(tmp_path / "new", card="x")
    for wrong in (None, 5, b"x", ""):
        with one_line("a path must be a text"):
            unet.save_pretrained(wrong)
    with one_line("max_shard_size must be a whole number or a text, got 1.5"):
        unet.save_pretrained(tmp_path / "new", max_shard_size=1.5)
    with one_line("VARPipeline takes no argument 'clas_names'; did you mean 'class_names'"):
        VARPipeline(pipe.vqvae, pipe.transformer, clas_names=["a"])
    with one_line("DiffusionPipeline takes no argument 'num_timestep'; did you mean 'num_timesteps'"):
        DiffusionPipeline(unet, num_timestep=3)
    with one_line("num_timesteps must be a whole number, got '1000'"):
        DiffusionPipeline(unet, num_timesteps="1000")
    with one_line("VAR takes no argument 'depth'; choose one of 'config'"):
        VAR(transformer_config(), depth=3)
    with one_line("config must be VARConfig, got 5"):
        VAR(5)
    with one_line(".*from_original takes no argument 'dtyp'; did you mean 'dtype'"):
        VARPipeline.from_original({}, {}, dtyp="fp16")
    with one_line("num_heads must be a whole number or None, got '4'"):
        VARPipeline.from_original({}, {}, num_heads="4")
    with one_line("dtype must be a float type, got 'fp15'; did you mean 'fp16'"):
        VARPipeline.from_original({}, {}, torch_dtype="fp15")
    assert not (tmp_path / "new").exists()


def test_arguments_by_place_are_taken_as_before(tmp_path):
    model = Tiny(TinyConfig(width=3))
    model.save_pretrained(str(tmp_path / "tiny") + "/", card=ModelCard())
    assert_same_weights(Tiny.from_pretrained(str(tmp_path / "tiny") + "//"), model)
    assert type(tiny_vqvae()).__name__ == "VQVAE"


def test_the_home_folder_is_known_by_its_sign(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    pipe = tiny_diffusion_pipeline()
    pipe.save_pretrained("~/one", card=ModelCard())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one"]
    assert (tmp_path / "one" / "README.md").exists()
    assert_same_weights(DiffusionPipeline.from_pretrained("~/one").unet, pipe.unet)
