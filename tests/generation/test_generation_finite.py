"""F1: NaN and infinity are refused before anything is drawn from them, in both paradigms, on every kind of device."""

import math

import jaxtyping
import pytest
import torch
from tiny import tiny_diffusion_pipeline, tiny_pipeline, tiny_vqvae

from diffusion_baseline.sampling_settings import SamplingSettings as DiffusionSettings
from var.conditions import Condition
from var.errors import UserError
from var.generation.draws import OfficialDraws, PerImageDraws
from var.generation.loop import generate
from var.generation.sampling_settings import SamplingSettings
from var.sampling import finite
from var.sampling.finite import Finite

QUIET = {"progress": False}
BAD = [math.nan, math.inf, -math.inf]


def var_pipeline():
    return tiny_pipeline(sides=(1, 2), depth=1, width=16, heads=2)


def diffusion_pipeline():
    return tiny_diffusion_pipeline(timesteps=3)


def spoil(model, value):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


@pytest.fixture(params=["at once", "at the end"])
def device(request, monkeypatch):
    """A CPU as it is, or treated as a device for which the host must not wait."""
    monkeypatch.setattr(finite, "AT_ONCE", ("cpu",) if request.param == "at once" else ())
    return request.param


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("output_type", ["pil", "pt", "np"])
@pytest.mark.parametrize(
    "settings", [{}, {"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.2}, {"smooth": True}, {"official": True}]
)
def test_a_transformer_of_nan_draws_nothing(value, output_type, settings, device):
    """F1: the last code everywhere, the same image for all seeds, rc 0."""
    pipe, settings = var_pipeline(), dict(settings)
    spoil(pipe.transformer, value)
    if settings.pop("official", False):
        settings |= {"official_stream": True, "generator": torch.Generator().manual_seed(0)}
    seen = []
    with pytest.raises(UserError, match=r"\Ageneration needs finite logits, got NaN or infinite ones; .*\Z"):
        pipe([0, 1, 2], output_type=output_type, callback_on_step_end=lambda *a: seen.append(a), **settings, **QUIET)
    assert len(seen) == (0 if device == "at once" else 2)
    assert all(bool(((tokens >= 0) & (tokens < 16)).all()) for _, tokens, _ in seen)


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("part", ["head.bias", "position", "blocks.0.mlp.fc1.bias", "class_embedding.weight"])
def test_one_weight_of_the_transformer_is_enough(part, value, device):
    pipe = var_pipeline()
    dict(pipe.transformer.named_parameters())[part].data.view(-1)[0] = value
    with pytest.raises(UserError, match="generation needs finite logits"):
        pipe([0, 1], **QUIET)


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("output_type", ["pil", "pt", "np"])
@pytest.mark.parametrize("part", ["quantizer.codebook.weight", "quantizer.phi.1.bias", "decoder.conv_out.bias"])
def test_a_tokenizer_of_nan_shows_nothing(part, value, output_type, device):
    """The decoder clamps: infinity would be a white image."""
    pipe = var_pipeline()
    dict(pipe.vqvae.named_parameters())[part].data.fill_(value)
    with pytest.raises(UserError, match=r"\Ageneration needs finite (logits|latents|images), got NaN"):
        pipe([0, 1], output_type=output_type, **QUIET)


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
@pytest.mark.parametrize("part", ["", "head.bias", "stem.weight"])
def test_a_network_of_nan_shows_nothing(part, sampler, value, device):
    pipe = diffusion_pipeline()
    if part:
        dict(pipe.unet.named_parameters())[part].data.view(-1)[0] = value
    else:
        spoil(pipe.unet, value)
    seen = []
    with pytest.raises(UserError, match=r"\Ageneration needs finite predictions, got NaN or infinite ones; look .*\Z"):
        pipe([0, 1], sampler=sampler, callback_on_step_end=lambda *a: seen.append(a), output_type="pt", **QUIET)
    assert not seen or device == "at the end"


@pytest.mark.parametrize("scale", [1e300, -1e300, 3e38, 1.1e30])
def test_guidance_beyond_float32_is_refused(scale):
    for pipe in (var_pipeline(), diffusion_pipeline()):
        with pytest.raises(UserError, match=r"\Aguidance_scale must lie within 1e\+30 on both sides of 0, got .*\Z"):
            pipe([0, 1], guidance_scale=scale, **QUIET)
    with pytest.raises(UserError, match="guidance_scale must lie"):
        var_pipeline()([0, 1], guidance_scale=[1.0, scale], **QUIET)


def test_numbers_that_outgrow_float32_on_the_way_are_refused(device):
    pipe, noise = var_pipeline(), diffusion_pipeline()
    pipe.transformer.head.weight.data.mul_(1e12)
    noise.unet.head.weight.data.mul_(1e12)
    for each in (pipe, noise):
        with pytest.raises(UserError, match="generation needs finite"):
            each([0, 1], guidance_scale=1e30, output_type="pt", **QUIET)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_settings_that_are_not_finite_are_refused(value):
    """F1 and F16: they are refused where they are made, and in both calls."""
    var, diffusion = var_pipeline(), diffusion_pipeline()
    names = ["guidance_scale", "temperature", "top_p", "min_p", "top_k"]
    asked = [(SamplingSettings, var, name, value) for name in names]
    asked += [(SamplingSettings, var, "guidance_scale", listed) for listed in ([1.0, value], (value, 1.0))]
    asked += [(DiffusionSettings, diffusion, name, value) for name in ("guidance_scale", "eta", "num_inference_steps")]
    for settings, pipe, name, given in asked:
        for call in (lambda: settings(**{name: given}), lambda: pipe(1, **{name: given}, **QUIET)):  # noqa: B023
            with pytest.raises(UserError, match=rf"\A{name} must be .*; .*\Z"):
                call()


@pytest.mark.parametrize("temperature", [0, -1, 1e-45, 1e-7, 5e-324, -0.0])
def test_vanishing_temperatures_are_refused(temperature):
    """F1: 1e-45 gave the last code everywhere."""
    with pytest.raises(UserError, match=r"\Atemperature must be positive, got .*; take 1e-06 or more, .* top_k=1\Z"):
        var_pipeline()(1, temperature=temperature, **QUIET)


def test_the_least_temperature_takes_the_likeliest_code():
    pipe = var_pipeline()
    cold, greedy = (pipe([0, 1, 2], seeds=[1, 2, 3], **kind, **QUIET) for kind in ({"temperature": 1e-6}, {"top_k": 1}))
    for left, right in zip(cold.tokens, greedy.tokens, strict=True):
        assert torch.equal(left, right)


def test_an_encoder_of_nan_gives_no_tokens():
    for value in BAD:
        vqvae = tiny_vqvae().eval()
        vqvae.encoder.conv_out.bias.data[0] = value
        for use in (vqvae.encode, vqvae.reconstruct):
            with pytest.raises(
                UserError, match=r"\Aencoding needs finite latents, got NaN or infinite ones; look .*\Z"
            ):
                use(torch.zeros(1, 1, 6, 6))
        vqvae = tiny_vqvae().eval()
        tokens = vqvae.encode(torch.zeros(1, 1, 6, 6))
        vqvae.decoder.conv_out.bias.data[0] = value
        with pytest.raises(UserError, match=r"\Adecoding needs finite images, got NaN or infinite ones; look .*\Z"):
            vqvae.decode(tokens)


@pytest.mark.parametrize("value", BAD)
def test_images_and_temperatures_of_nan_are_not_encoded(value):
    vqvae = tiny_vqvae().eval()
    images = torch.zeros(1, 1, 6, 6)
    images[0, 0, 2, 3] = value
    for use in (vqvae.encode, vqvae.reconstruct, var_pipeline().vqvae.encode):
        with pytest.raises(UserError, match="images must be"):
            use(images)
    with pytest.raises(UserError, match=r"\Atemperature must be a finite number from 0 on, got .*\Z"):
        vqvae.encode(torch.zeros(1, 1, 6, 6), temperature=value, generator=torch.Generator())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda maps: [each + 0.5 for each in maps], "token maps must be tensors of whole numbers, got tensor"),
        (lambda maps: [each * math.nan for each in maps], "token maps must be tensors of whole numbers"),
        (lambda maps: [each.bool() for each in maps], "token maps must be tensors of whole numbers"),
        (lambda maps: [each.tolist() for each in maps], "token maps must be tensors of whole numbers"),
        (lambda maps: [maps[0][:1], *maps[1:]], r"token maps must be of the same images, got \[1, 2, 2\] of them"),
        (lambda maps: [each + 16 for each in maps], r"tokens must lie in \[0, 16\)"),
    ],
)
def test_tokens_that_are_none_are_not_decoded(change, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    vqvae = tiny_vqvae().eval()
    maps = vqvae.encode(torch.zeros(2, 1, 6, 6))
    assert torch.equal(vqvae.decode([each.to(torch.uint8) for each in maps]), vqvae.decode(maps))
    for use in (vqvae.decode, vqvae.teacher_inputs):
        with pytest.raises(UserError, match=message) as caught:
            use(change(maps))
        assert "\n" not in str(caught.value)


def test_a_likelihood_of_nan_is_refused():
    pipe = var_pipeline()
    pipe.transformer.head.bias.data[3] = math.nan
    with pytest.raises(UserError, match=r"\Aa likelihood needs finite logits, got NaN or infinite ones; look .*\Z"):
        pipe.log_likelihood(torch.zeros(1, 1, 4, 4))


def test_finite_numbers_are_left_alone(device):
    for make in (var_pipeline, diffusion_pipeline):
        settings = {"seeds": [1, 2], "output_type": "pt", **QUIET}
        images = make()([0, 1], **settings).images
        assert images.isfinite().all()
    values = torch.randn(3, 4)
    look = Finite("a test needs numbers", "none")
    assert torch.equal(look.checked(values.clone()), values)
    look.settle()


def test_draws_take_zeros_for_what_is_not_finite(monkeypatch):
    """On a GPU `multinomial` of NaN ends the process, and so does an index out of the table."""
    monkeypatch.setattr(finite, "AT_ONCE", ())
    asked = []

    class Recorded(PerImageDraws):
        def codes(self, choice):
            asked.append(choice.logits)
            return super().codes(choice)

    class RecordedOfficial(OfficialDraws):
        def codes(self, choice):
            asked.append(choice.logits)
            return super().codes(choice)

    pipe = var_pipeline()
    spoil(pipe.transformer, math.nan)
    engine = pipe._prepare().engine
    for draws in (Recorded([torch.Generator()]), RecordedOfficial(torch.Generator(), 16)):
        with pytest.raises(UserError, match="finite logits"):
            generate(
                engine,
                Condition.of(torch.tensor([1])),
                guidance=[2.0, 2.0],
                sampling=SamplingSettings(),
                draws=draws,
            )
    assert len(asked) == 4
    assert all(bool(logits.isfinite().all()) for logits in asked)
