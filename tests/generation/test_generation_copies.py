"""A pipeline that was compiled and called: copied, pickled, cast, wrapped, built in inference mode, used by threads."""

import copy
import io
import pickle
import threading

import jaxtyping
import pytest
import torch
from tiny import spread, tiny_diffusion_pipeline, tiny_pipeline, tiny_unet
from torch import nn

from diffusion_baseline import DiffusionPipeline
from var import VAR, VQVAE, VARPipeline
from var.errors import UserError

SETTINGS = {"seeds": [0, 1], "guidance_scale": 2.0, "output_type": "pt", "progress": False}


def through_torch(pipe):
    file = io.BytesIO()
    torch.save(pipe, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "pickle": lambda pipe: pickle.loads(pickle.dumps(pipe)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "torch.save": through_torch,
    "copy of a copy": lambda pipe: copy.deepcopy(pickle.loads(pickle.dumps(pipe))),
    "in a list": lambda pipe: copy.deepcopy([pipe])[0],
}


def var_pipeline(dtype=torch.float32):
    return tiny_pipeline(sides=(1, 2), depth=1, width=16, heads=2).to(dtype).compile()


def diffusion_pipeline(dtype=torch.float32):
    return tiny_diffusion_pipeline(timesteps=3).to(dtype)


PIPELINES = {"var": var_pipeline, "diffusion": diffusion_pipeline}


@pytest.mark.parametrize("make", PIPELINES.values(), ids=PIPELINES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_of_a_used_pipeline_makes_the_same_images(make, way, dtype):
    """Section 2 of the issue: packed weights can be neither copied nor saved."""
    pipe = make(dtype)
    expected = pipe([1, 2], **SETTINGS).images
    twin = COPIES[way](pipe)
    assert type(twin) is type(pipe)
    assert torch.equal(twin([1, 2], **SETTINGS).images, expected)
    assert torch.equal(pipe([1, 2], **SETTINGS).images, expected)
    if way != "copy":  # they share nothing: what is written to one leaves the other alone
        for name in pipe.parts:
            for parameter in getattr(twin, name).parameters():
                parameter.data.mul_(1.5)
        assert torch.equal(pipe([1, 2], **SETTINGS).images, expected)
        assert not torch.equal(twin([1, 2], **SETTINGS).images, expected)
    assert getattr(twin, "compiled", None) == getattr(pipe, "compiled", None)


def test_a_pipeline_that_is_cast_and_cast_back_is_prepared_for_each():
    pipe = var_pipeline()
    expected = pipe([1, 2], **SETTINGS)
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        assert pipe.to(dtype)([1, 2], **SETTINGS).images.isfinite().all()
        assert torch.equal(tiny_casted(dtype)([1, 2], **SETTINGS).images.isfinite(), torch.ones(2, 1, 4, 4).bool())
    twin = tiny_pipeline(sides=(1, 2), depth=1, width=16, heads=2)
    pipe.to(torch.float32)
    for name in pipe.parts:
        getattr(pipe, name).load_state_dict(getattr(twin, name).state_dict())
    assert torch.equal(pipe([1, 2], **SETTINGS).images, expected.images)


def tiny_casted(dtype):
    return tiny_pipeline(sides=(1, 2), depth=1, width=16, heads=2).to(dtype)


@pytest.mark.parametrize("make", PIPELINES.values(), ids=PIPELINES)
def test_threads_share_a_pipeline_while_it_is_prepared(make):
    pipe, found = make(), {}
    expected = {label: make()([label, 2], **SETTINGS).images for label in range(4)}
    start = threading.Barrier(4)

    def call(label):
        start.wait()
        found[label] = pipe([label, 2], **SETTINGS).images

    threads = [threading.Thread(target=call, args=(label,)) for label in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.keys() == expected.keys()
    for label, images in found.items():
        assert torch.equal(images, expected[label])


@pytest.mark.parametrize("make", PIPELINES.values(), ids=PIPELINES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_pipeline_of_inference_mode_works_outside(make, dtype):
    """Section 2 of the issue; built, cast and called inside, then outside."""
    expected = make(dtype)([1, 2], **SETTINGS).images
    with torch.inference_mode():
        pipe = make(dtype)
        inside = pipe([1, 2], **SETTINGS).images
    assert torch.equal(inside, expected)
    outside = pipe([1, 2], **SETTINGS).images
    assert torch.equal(outside, expected)
    for images in (inside, outside):
        scale = torch.ones((), requires_grad=True)
        (images * scale).sum().backward()
        assert scale.grad == expected.sum()


@pytest.mark.parametrize("make", PIPELINES.values(), ids=PIPELINES)
def test_inference_tensors_from_elsewhere_serve_for_images(make):
    """Weights assigned inside inference mode stay inference tensors; images need no gradient of them."""
    pipe, twin = make(), make()
    with torch.inference_mode():
        for name in pipe.parts:
            state = {key: value * 1.01 for key, value in getattr(pipe, name).state_dict().items()}
            getattr(pipe, name).load_state_dict(state, assign=True)
            getattr(twin, name).load_state_dict(state)
        pipe([1, 2], **SETTINGS)
    assert torch.equal(pipe([1, 2], **SETTINGS).images, twin([1, 2], **SETTINGS).images)


def test_models_of_inference_mode_are_trained_and_encode_outside(tmp_path):
    tiny_pipeline().save_pretrained(tmp_path)
    with torch.inference_mode():
        loaded = VARPipeline.from_pretrained(tmp_path)
        models = [loaded, VARPipeline(VQVAE(loaded.vqvae.config), VAR(loaded.transformer.config))]
        unet = tiny_unet()
    for pipe in models:
        images = pipe.vqvae.reconstruct(torch.zeros(2, 1, 6, 6))
        images.sum().backward()
        tokens = pipe.vqvae.encode(torch.zeros(2, 1, 6, 6))
        logits = pipe.transformer(torch.tensor([1, 5]), pipe.vqvae.teacher_inputs(tokens).detach())
        logits.sum().backward()
        assert pipe.transformer.head.weight.grad.any()
        assert pipe.log_likelihood(torch.zeros(2, 1, 6, 6)).isfinite().all()
    spread(unet)(torch.zeros(1, 1, 4, 8), torch.tensor([1]), torch.tensor([2])).sum().backward()


class Wrapped(nn.Module):
    """As `torch.compile` wraps: attributes are those of the model inside."""

    def __init__(self, model):
        super().__init__()
        self._orig_mod = model

    def forward(self, *arguments):
        return self._orig_mod(*arguments)

    def __getattr__(self, name):
        return super().__getattr__(name) if name == "_orig_mod" else getattr(self._orig_mod, name)


WRAPPERS = {
    "compiled": torch.compile,
    "data parallel": nn.DataParallel,
    "average": torch.optim.swa_utils.AveragedModel,
    "compiled data parallel": lambda model: Wrapped(nn.DataParallel(model)),
}


@pytest.mark.parametrize("make", PIPELINES.values(), ids=PIPELINES)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_pipeline_of_wrapped_models_is_called_as_that_of_the_models(make, wrapper):
    with torch.compiler.set_stance("force_eager"):  # compiling takes seconds and changes nothing here
        check_wrapped(make(), wrapper)


def check_wrapped(pipe, wrapper):
    expected = pipe([1, 2], **SETTINGS).images
    for name in pipe.parts:
        setattr(pipe, name, WRAPPERS[wrapper](getattr(pipe, name)))
    images = pipe([1, 2], **SETTINGS).images
    torch.testing.assert_close(images, expected, atol=1e-5, rtol=1e-5)
    assert pipe.device == torch.device("cpu")
    assert pipe.label_of("3") == 3
    for name in pipe.parts:  # a write to the model inside is seen
        for parameter in getattr(pipe, name).parameters():
            parameter.data.mul_(1.5)
    assert not torch.allclose(pipe([1, 2], **SETTINGS).images, expected, atol=1e-3)


def test_wrapped_models_make_a_pipeline(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    plain, noise = tiny_pipeline(), tiny_diffusion_pipeline(timesteps=3)
    pipe = VARPipeline(nn.DataParallel(plain.vqvae), nn.DataParallel(plain.transformer))
    assert torch.equal(pipe([1, 2], **SETTINGS).images, plain([1, 2], **SETTINGS).images)
    assert pipe.log_likelihood(torch.zeros(1, 1, 6, 6), [2]) == plain.log_likelihood(torch.zeros(1, 1, 6, 6), [2])
    pipe = DiffusionPipeline(nn.DataParallel(noise.unet), num_timesteps=3)
    assert torch.equal(pipe([1, 2], **SETTINGS).images, noise([1, 2], **SETTINGS).images)


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (var_pipeline, "vqvae", r"vqvae must be a Tokenizer, got Linear; pass the model itself"),
        (var_pipeline, "transformer", r"transformer must be a VAR, got Linear; pass the model itself"),
        (diffusion_pipeline, "unet", r"unet must be a UNet, got Linear; pass the model itself"),
    ],
)
def test_parts_that_are_no_models_are_refused_at_the_call(make, name, message):
    pipe = make()
    for part in (nn.Linear(1, 1), nn.DataParallel(nn.Linear(1, 1))):
        setattr(pipe, name, part)
        with pytest.raises(UserError, match=rf"\A{message}\Z"):
            pipe(1, progress=False)


def test_a_part_of_another_pair_is_refused_at_the_call():
    pipe = var_pipeline()
    pipe.transformer = tiny_pipeline().transformer
    with pytest.raises(UserError, match=r"\Atokenizer and transformer must have the same sides, got .*\Z"):
        pipe(1, progress=False)


def test_dropout_of_a_model_in_training_mode_does_not_reach_the_images():
    pipe = tiny_pipeline(dropout=0.5)
    expected = pipe([1, 2], **SETTINGS).images
    likelihood = pipe.log_likelihood(torch.zeros(2, 1, 6, 6))
    pipe.vqvae.train()
    pipe.transformer.train()
    assert torch.equal(pipe([1, 2], **SETTINGS).images, expected)
    assert torch.equal(pipe.log_likelihood(torch.zeros(2, 1, 6, 6)), likelihood)
    assert pipe.vqvae.decoder.training
    assert pipe.transformer.training
