"""However weights are written to, the next call gives what a fresh pipeline gives: nothing old is mixed in."""

import copy
import ctypes

import pytest
import torch
from tiny import tiny_pipeline
from torch import nn

from var import VARPipeline
from var.errors import UserError

SETTINGS = {"seeds": [0, 1], "guidance_scale": 2.0, "output_type": "pt", "progress": False}


def new_values(model):
    """Other weights, by name."""
    generator = torch.Generator().manual_seed(3)
    return {
        name: (value + 0.2 * torch.randn(value.shape, generator=generator)).to(value.dtype)
        for name, value in model.state_dict().items()
        if value.is_floating_point()
    }


def floats(model):
    values = new_values(model)
    return [(parameter, values[name]) for name, parameter in model.named_parameters()]


def by_data(model):
    for parameter, value in floats(model):
        parameter.data.copy_(value)


def by_detach(model):
    for parameter, value in floats(model):
        parameter.detach().copy_(value)


def by_arithmetic_on_data(model):
    for parameter, value in floats(model):
        parameter.data.mul_(0.5).add_(value)


def by_foreach(model):
    parameters, values = zip(*floats(model), strict=True)
    torch._foreach_copy_([parameter.data for parameter in parameters], list(values))


def by_foreach_lerp(model):
    parameters, values = zip(*floats(model), strict=True)
    torch._foreach_lerp_([parameter.detach() for parameter in parameters], list(values), 0.5)


def by_numpy(model):
    for parameter, value in floats(model):
        words = torch.int32 if value.dtype == torch.float32 else torch.int16  # numpy has no bfloat16
        parameter.detach().view(words).numpy()[:] = value.view(words).numpy()


def by_address(model):
    for parameter, value in floats(model):
        value = torch.empty_like(parameter.detach()).copy_(value)  # laid out alike
        ctypes.memmove(parameter.data_ptr(), value.data_ptr(), value.nbytes)


def by_storage(model):
    for parameter, value in floats(model):
        parameter.untyped_storage().copy_(torch.empty_like(parameter.detach()).copy_(value).untyped_storage())


def by_no_grad(model):
    with torch.no_grad():
        for parameter, value in floats(model):
            parameter.copy_(value)


def in_inference_mode(model):
    with torch.inference_mode():
        for parameter, value in floats(model):
            parameter.copy_(value)


def by_set(model):
    with torch.no_grad():
        for parameter, value in floats(model):
            parameter.set_(value)


def by_new_data(model):
    for parameter, value in floats(model):
        parameter.data = value


def by_vector(model):
    nn.utils.vector_to_parameters(torch.cat([value.flatten() for _, value in floats(model)]), model.parameters())


def by_state_dict(model):
    model.load_state_dict(new_values(model), strict=False)


def by_assigned_state_dict(model):
    model.load_state_dict(new_values(model), strict=False, assign=True)


def by_new_parameters(model):
    for name, value in new_values(model).items():
        if name in dict(model.named_parameters()):
            owner, _, last = name.rpartition(".")
            setattr(model.get_submodule(owner), last, nn.Parameter(value))


def by_inference_parameters(model):
    with torch.inference_mode():
        by_new_parameters(model)


def by_new_modules(model):
    other = copy.deepcopy(model)
    by_data(other)
    for name, child in other.named_children():
        setattr(model, name, child)


def by_casts(model):
    by_data(model)
    dtype = next(model.parameters()).dtype
    model.to(torch.float64).to(dtype)


WAYS = [
    by_data,
    by_detach,
    by_arithmetic_on_data,
    by_foreach,
    by_foreach_lerp,
    by_numpy,
    by_address,
    by_storage,
    by_no_grad,
    in_inference_mode,
    by_set,
    by_new_data,
    by_vector,
    by_state_dict,
    by_assigned_state_dict,
    by_new_parameters,
    by_inference_parameters,
    by_new_modules,
    by_casts,
]


def pipeline(kind, monkeypatch):
    """As weights are kept: themselves, packed, in bfloat16, and cast because the CPU has no instructions for it."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": "cast" not in kind})
    pipe = tiny_pipeline(sides=(1, 2), depth=1, width=16, heads=2)
    if "bfloat16" in kind:
        pipe.to(torch.bfloat16)
    return pipe.compile() if "packed" in kind else pipe


def assert_as_fresh(pipe):
    fresh = VARPipeline(pipe.vqvae, pipe.transformer)
    found, expected = (each([1, 2], **SETTINGS) for each in (pipe, fresh.compile() if pipe.compiled else fresh))
    for left, right in zip(found.tokens, expected.tokens, strict=True):
        assert torch.equal(left, right)
    assert torch.equal(found.images, expected.images)
    return found


@pytest.mark.parametrize("kind", ["float32", "float32 packed", "bfloat16", "bfloat16 cast packed"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_write_is_seen(kind, way, monkeypatch):
    """Section 2 of the issue: an EMA copied through `.data` gave 13-88 % of the tokens of the old weights."""
    pipe = pipeline(kind, monkeypatch)
    before = pipe([1, 2], **SETTINGS).images
    way(pipe.transformer)
    pipe._prepare()
    way(pipe.vqvae)
    assert not torch.equal(assert_as_fresh(pipe).images, before)


def test_a_write_to_any_single_weight_is_seen(monkeypatch):
    """One element of one tensor, each in turn; whatever of it is cast, joined or tabulated follows."""
    pipe = pipeline("bfloat16 cast packed", monkeypatch)
    prepared, seen = pipe._prepare(), 0
    assert pipe._prepare() is prepared
    for model in (pipe.transformer, pipe.vqvae):
        for tensor in model.parameters():
            tensor.data.view(-1)[-1] += 0.5
            before, prepared = prepared, pipe._prepare()
            seen += prepared is not before
    assert_as_fresh(pipe)
    unused = [*pipe.vqvae.encoder.parameters(), *pipe.vqvae.quant_conv.parameters()]
    called = [each for name, each in pipe.transformer.named_parameters() if "adaln" in name or "class" in name]
    referred = [*called, pipe.transformer.start]  # these are asked for in every call
    assert seen == len([*pipe.vqvae.parameters(), *pipe.transformer.parameters()]) - len(unused) - len(referred)


def test_parts_of_a_pipeline_may_be_replaced():
    pipe, other = tiny_pipeline(), tiny_pipeline()
    fresh = tiny_pipeline()
    by_data(other.transformer)
    by_data(other.vqvae)
    for change in (
        lambda: setattr(pipe, "transformer", other.transformer),
        lambda: setattr(pipe, "vqvae", other.vqvae),
        lambda: setattr(pipe.vqvae, "quantizer", fresh.vqvae.quantizer),
        lambda: setattr(pipe.vqvae, "post_quant_conv", fresh.vqvae.post_quant_conv),
        lambda: setattr(pipe.transformer, "head", fresh.transformer.head),
        lambda: pipe.transformer.blocks.__setitem__(0, fresh.transformer.blocks[1]),
        lambda: setattr(pipe.transformer.blocks[1].attention, "log_scale", nn.Parameter(torch.ones(4, 1, 1))),
    ):
        for each in (pipe, pipe.compile()):
            before = each([1, 2], **SETTINGS).images
        change()
        assert not torch.equal(assert_as_fresh(pipe).images, before)


def test_computed_weights_are_followed():
    """Weights of a parametrisation are new tensors at every look: what they are computed from may change."""
    pipe = tiny_pipeline()
    nn.utils.parametrizations.weight_norm(pipe.transformer.blocks[0].mlp.fc1)
    before = pipe([1, 2], **SETTINGS).images
    pipe.transformer.blocks[0].mlp.fc1.parametrizations.weight.original0.data.mul_(3)
    assert not torch.equal(assert_as_fresh(pipe).images, before)


def test_layers_that_are_more_than_their_weights_are_refused():
    """An adapter beside a layer, which generation would leave out in silence."""

    class Adapted(nn.Linear):
        def forward(self, x):
            return super().forward(x) + 1

    pipe = tiny_pipeline()
    pipe([1], **{**SETTINGS, "seeds": [0]})
    pipe.transformer.blocks[1].mlp.fc2 = Adapted(128, 32)
    with pytest.raises(UserError, match=r"\Ageneration .*, got a Adapted as blocks.1.mlp.fc2; merge .*\Z"):
        pipe([1], progress=False)
    pipe.transformer.blocks[1].mlp.fc2 = nn.Identity()
    with pytest.raises(UserError, match="got a Identity as"):
        pipe([1], progress=False)


def test_unchanged_weights_are_not_prepared_again(monkeypatch):
    for kind in ("float32", "float32 packed", "bfloat16 cast packed"):
        pipe = pipeline(kind, monkeypatch)
        pipe([1, 2], **SETTINGS)
        prepared = pipe._prepare()
        pipe([1, 2], **SETTINGS)
        by_same = {name: value.clone() for name, value in pipe.transformer.state_dict().items()}
        pipe.transformer.load_state_dict(by_same)  # the same contents
        assert pipe._prepare() is prepared
