"""The autoencoder: its divergence in closed form, its draws, the measured scale, and what it refuses."""

from dataclasses import dataclass, replace

import pytest
import torch
from tiny import tiny_vqvae
from torch.distributions import Normal, kl_divergence

from var.autoencoder import Autoencoder, AutoencoderConfig, LatentCodec
from var.autoencoder.model import gaussian_kl
from var.errors import UserError

TINY = AutoencoderConfig(
    image_size=(8, 4), in_channels=1, base_channels=4, channel_multipliers=(1, 2), residual_blocks=1, norm_groups=2
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Autoencoder(TINY).eval()


def some_images(count=6):
    return torch.rand(count, 1, 8, 4, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_the_divergence_is_that_of_diagonal_gaussians():
    mean, log_variance = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    found = gaussian_kl(mean, log_variance)
    normal = Normal(mean, (0.5 * log_variance).exp())
    expected = kl_divergence(normal, Normal(torch.zeros(()), torch.ones(()))).flatten(1).sum(1)
    torch.testing.assert_close(found, expected)
    assert gaussian_kl(torch.zeros(1, 5), torch.zeros(1, 5)).item() == 0


def test_a_training_pass_decodes_mean_plus_deviation_times_noise(model):
    images = some_images()
    mean, log_variance = model.moments(images)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(3))
    out = model(images, torch.Generator().manual_seed(3))
    assert torch.equal(out.reconstruction, model.expand(mean + (0.5 * log_variance).exp() * noise))
    assert torch.equal(out.kl, gaussian_kl(mean, log_variance))
    out.reconstruction.sum().backward()  # the noise lets gradients through to mean and variance
    assert all(part.abs().sum() > 0 for part in model.quant_conv.weight.grad.chunk(2))


def test_without_a_variance_the_latent_is_a_point():
    torch.manual_seed(0)
    model = Autoencoder(replace(TINY, variational=False)).eval()
    out = model(some_images())
    assert out.kl.tolist() == [0.0] * 6
    assert torch.equal(out.reconstruction, model.expand(model.compress(some_images())))


def test_the_measured_scale_is_one_over_the_deviation(model):
    images = some_images(40)
    raw = model.encode(images)
    model.measure(images.split(7))
    torch.testing.assert_close(model.shift[:, 0, 0], raw.mean((0, 2, 3)))
    spread = (raw - raw.mean((0, 2, 3), keepdim=True)).square().mean().sqrt()
    torch.testing.assert_close(model.scale, 1 / spread)
    latents = model.encode(images)
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    assert latents.square().mean().item() == pytest.approx(1, abs=1e-5)
    assert latents.shape[1:] == model.latent_shape == (4, 4, 2)
    torch.testing.assert_close(model.decode(latents), model.expand(raw).clamp(-1, 1), atol=1e-5, rtol=1e-4)
    again = model.scale.clone()
    model.measure(images.split(40))
    torch.testing.assert_close(model.scale, again)


def test_it_is_saved_with_its_scale_and_named_without(model, tmp_path):
    before = model.digest
    model.measure([some_images()])
    model.save_pretrained(tmp_path)
    loaded = LatentCodec.from_pretrained(tmp_path)
    assert isinstance(loaded, Autoencoder)
    assert torch.equal(loaded.encode(some_images()), model.encode(some_images()))
    assert loaded.digest == before
    with torch.no_grad():
        loaded.decoder.conv_out.bias.add_(1)
    assert loaded.digest != before


@pytest.mark.parametrize("encoder", ["convolutions", "patches"])
def test_a_tokenizer_gives_its_continuous_latent(encoder):
    torch.manual_seed(0)
    vqvae = tiny_vqvae(sides=(1, 2, (4, 2)), zero_init=True, encoder=encoder).eval()
    codec = vqvae.codec()
    assert (codec.image_shape, codec.latent_shape) == ((1, 8, 4), (4, 4, 2))
    images = some_images()
    assert torch.equal(codec.encode(images), vqvae.latent(images))
    assert torch.equal(codec.decode(vqvae.latent(images)), vqvae.decode_latent(vqvae.latent(images)))
    assert not {id(weight) for weight in codec.parameters()} & {id(weight) for weight in vqvae.parameters()}


def test_what_cannot_be_is_refused(model):
    with pytest.raises(UserError, match=r"images must be 8x4 \(height x width\), got 8x8"):
        model.encode(torch.zeros(1, 1, 8, 8))
    with pytest.raises(UserError, match=r"latents must be of the shape \(4, 4, 2\), got \(4, 2, 2\)"):
        model.decode(torch.zeros(1, 4, 2, 2))
    with pytest.raises(UserError, match="latents must differ to be scaled, got 8 values per channel of variance 0"):
        Constant().measure([some_images(1)])
    with pytest.raises(UserError, match="image_size must be a multiple of 2 for 2 levels, got 7"):
        replace(TINY, image_size=7)
    with pytest.raises(UserError, match="channels must be divisible by norm_groups=3, got 4"):
        replace(TINY, norm_groups=3)


@dataclass(frozen=True)
class NoConfig:
    pass


class Constant(LatentCodec):
    config_class = NoConfig
    image_shape = (1, 8, 4)
    latent_shape = (1, 4, 2)

    def __init__(self):
        super().__init__(1)

    def compress(self, images):
        return torch.ones(len(images), 1, 4, 2)

    def expand(self, latents):
        raise NotImplementedError
