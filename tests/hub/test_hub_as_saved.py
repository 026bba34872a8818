"""Models load as they were saved, whatever torch's defaults are, and never with NaN or infinity (issue 11; F1)."""

import contextlib

import pytest
import torch
from official_layout import official_pair
from safetensors.torch import load_file, save_file
from tiny import tiny_diffusion_pipeline, tiny_pipeline
from tiny_models import assert_same_weights, one_line

from diffusion_baseline import DiffusionPipeline, UNet
from var import VAR, VQVAE, VARPipeline
from var.errors import UserError
from var.foreign.weights import is_finite, read_tensors


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    tiny_pipeline().save_pretrained(folder / "var")
    tiny_diffusion_pipeline().save_pretrained(folder / "diffusion")
    torch.save(official_pair(9, sides=(1, 2), width=16, heads=2, depth=1)[0], folder / "vqvae.pth")
    torch.save(official_pair(9, sides=(1, 2), width=16, heads=2, depth=1)[1], folder / "var.pth")
    return folder


@pytest.fixture(scope="module")
def wanted(kept):
    return loaded(kept)[0]


def loaded(folder):
    """Every model that can be loaded from `folder`, by every door."""
    pipe, diffusion = (
        VARPipeline.from_pretrained(folder / "var"),
        DiffusionPipeline.from_pretrained(folder / "diffusion"),
    )
    official = VARPipeline.from_original(folder / "vqvae.pth", folder / "var.pth")
    alone = (
        VAR.from_pretrained(folder / "var", subfolder="transformer"),
        UNet.from_pretrained(folder / "diffusion/unet"),
    )
    return [pipe.vqvae, pipe.transformer, diffusion.unet, official.vqvae, official.transformer, *alone], diffusion


@contextlib.contextmanager
def default_type(kind):
    torch.set_default_dtype(kind)
    try:
        yield
        assert torch.get_default_dtype() is kind  # loading leaves it as it was
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@pytest.mark.parametrize(
    "around",
    [
        lambda: default_type(torch.bfloat16),
        lambda: default_type(torch.float64),
        lambda: torch.device("meta"),
        lambda: default_device("meta"),
        torch.inference_mode,
        torch.no_grad,
    ],
    ids=["bfloat16", "float64", "meta", "default meta", "inference", "no_grad"],
)
def test_contexts_and_defaults_of_torch_do_not_reach_a_loaded_model(kept, wanted, around):
    with around():
        found, diffusion = loaded(kept)
    for ours, theirs in zip(wanted, found, strict=True):
        assert_same_weights(ours, theirs)
        for (name, tensor), other in zip(
            [*theirs.named_parameters(), *theirs.named_buffers()], [*ours.parameters(), *ours.buffers()], strict=True
        ):
            assert (tensor.dtype, tensor.device, tensor.requires_grad) == (
                other.dtype,
                other.device,
                other.requires_grad,
            )
            assert not tensor.is_inference(), name
    assert diffusion.schedule.betas.dtype == torch.float64
    diffusion(1, num_inference_steps=1, progress=False)
    found[-1].head.weight.grad = torch.zeros_like(found[-1].head.weight)  # normal tensors, which can be trained
    found[-1].head.weight.requires_grad_(True).sum().backward()


def test_every_tensor_keeps_its_type(kept, tmp_path):
    pipe = tiny_pipeline()
    pipe.transformer.half()
    pipe.transformer.head.bias.data = pipe.transformer.head.bias.data.double()
    pipe.save_pretrained(tmp_path)
    with default_type(torch.bfloat16):
        back = VARPipeline.from_pretrained(tmp_path)
    assert_same_weights(back.transformer, pipe.transformer)
    kinds = {name: tensor.dtype for name, tensor in back.transformer.state_dict().items()}
    assert kinds == {name: tensor.dtype for name, tensor in pipe.transformer.state_dict().items()}
    assert set(kinds.values()) == {torch.float16, torch.float64}
    assert back.vqvae.quant_conv.weight.dtype == torch.float32
    assert VAR.from_pretrained(tmp_path / "transformer", dtype="auto").head.bias.dtype == torch.float64


def test_types_that_no_model_computes_in_are_asked_for(tmp_path):
    tiny_pipeline().transformer.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({name: tensor.to(torch.float8_e5m2) for name, tensor in weights.items()}, tmp_path / "model.safetensors")
    with one_line(".*must be of a type that models compute in, got torch.float8_e5m2; pass dtype=torch.float32"):
        VAR.from_pretrained(tmp_path)
    assert VAR.from_pretrained(tmp_path, dtype=torch.float32).head.weight.dtype == torch.float32


def test_an_official_file_may_stay_as_it_is(kept):
    pair = official_pair(9, sides=(1, 2), width=16, heads=2, depth=1)
    half = [
        {name: value.half() if value.is_floating_point() else value for name, value in part.items()} for part in pair
    ]
    assert VARPipeline.from_original(*half).transformer.head.weight.dtype == torch.float32
    kept_half = VARPipeline.from_original(*half, dtype="auto")
    assert {tensor.dtype for tensor in kept_half.transformer.parameters()} == {torch.float16}


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(kept, tmp_path, wrong):
    folder = tmp_path / "var"
    tiny_pipeline().save_pretrained(folder, max_shard_size=9000)
    for path in sorted((folder / "vqvae").glob("*.safetensors")):
        weights = load_file(path)
        if "quantizer.codebook.weight" in weights:
            weights["quantizer.codebook.weight"][3, 1] = wrong
            save_file(weights, path)
            broken = path.name
    for load in (
        lambda: VARPipeline.from_pretrained(folder),
        lambda: VQVAE.from_pretrained(folder / "vqvae", dtype="bf16"),
        lambda: VQVAE.from_pretrained(folder, subfolder="vqvae"),
    ):
        with one_line(f".*{broken}: quantizer.codebook.weight must be finite numbers, but holds NaN or infinity; take"):
            load()
    pair = official_pair(9, sides=(1, 2), width=16, heads=2, depth=1)
    pair[1]["head.weight"][0, 0] = wrong
    with one_line("the transformer's state dict: head.weight must be finite numbers"):
        VARPipeline.from_original(*pair)
    torch.save({"a": torch.ones(3), "b": {"c": torch.tensor([1.0, wrong])}}, tmp_path / "foreign.pth")
    with one_line(".*foreign.pth: b.c must be finite numbers"):
        read_tensors(tmp_path / "foreign.pth")
    assert not torch.isfinite(read_tensors(tmp_path / "foreign.pth", finite=False)["b"]["c"]).all()


def test_weights_that_a_smaller_type_cannot_hold_are_refused(tmp_path):
    pipe = tiny_pipeline()
    pipe.transformer.head.weight.data[0, 0] = -1e5
    pipe.save_pretrained(tmp_path)
    with one_line(".*model.safetensors: head.weight must stay finite in torch.float16, but reaches 100000; load it in"):
        VARPipeline.from_pretrained(tmp_path, torch_dtype="fp16")
    assert VARPipeline.from_pretrained(tmp_path, dtype="bf16").transformer.head.weight[0, 0] < -9e4
    pair = official_pair(9, sides=(1, 2), width=16, heads=2, depth=1)
    pair[1]["head.weight"][0, 0] = 1e5
    with one_line("the transformer's state dict: head.weight must stay finite in torch.float16"):
        VARPipeline.from_original(*pair, dtype="half")


@pytest.mark.parametrize(
    "kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2, torch.complex64]
)
def test_one_number_among_many_is_found(kind):
    numbers = torch.linspace(-1, 1, 5000).reshape(50, 100).to(kind)
    numbers[0, 0] = 57344 if kind != torch.complex64 else 1
    assert is_finite(numbers)
    assert is_finite(numbers.T)
    for wrong in (float("nan"), float("inf"), -float("inf")):
        broken = numbers.clone()
        broken[17, 3] = wrong
        assert not is_finite(broken)
        assert not is_finite(broken.T[3:4, 10:20])
    assert is_finite(torch.tensor([2**60, 3]))
    assert is_finite(torch.empty(0, 3, dtype=kind))


def test_a_place_that_is_not_here_is_one_line():
    pipe = tiny_pipeline()
    for place in ("cuda:99", "gpu", torch.device("cuda", 77)):
        for move in (lambda place=place: pipe.to(place), lambda place=place: pipe.to(device=place)):
            with pytest.raises(UserError, match="cannot be used here"):
                move()
    assert pipe.to("cpu", torch.float64).device.type == "cpu"
