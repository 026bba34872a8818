"""The cache of tokens: what encoding would give, looked up by index, in as many variants as asked for."""

import pytest
import torch

from var.data import ArrayData
from var.data.batches import Batch
from var.errors import UserError
from var.recipes.tokens import BATCH, TokenCache
from var.recipes.transformer import TransformerTask
from var.transformer import VAR, VARConfig
from var.vqvae import VQVAE, VQVAEConfig

COUNT = BATCH + 20  # a whole batch and a part of one


def make_vqvae(vocabulary=16):
    torch.manual_seed(3)
    small = {"base_channels": 8, "channel_multipliers": (1, 2), "residual_blocks": 1, "norm_groups": 4, "width": 4}
    vqvae = VQVAE(VQVAEConfig(sides=(1, 2, 3), in_channels=1, vocabulary=vocabulary, phi=2, **small)).eval()
    with torch.no_grad():
        vqvae.quantizer.codebook.weight.normal_()
    return vqvae


@pytest.fixture(scope="module")
def vqvae():
    return make_vqvae()


@pytest.fixture(scope="module")
def data():
    images = torch.rand(COUNT, 1, 6, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return ArrayData(images, torch.arange(COUNT) % 5)


@torch.no_grad()
def encoded(vqvae, data):
    return vqvae.config.schedule.flatten(vqvae.encode(data.images))


def make_cache(data, vqvae, **settings):
    return TokenCache.of(data, vqvae, progress=False, **settings)


def test_one_variant_holds_the_tokens_of_every_image(vqvae, data):
    cache = make_cache(data, vqvae)
    assert cache.tokens.shape == (1, COUNT, 14)
    drawn = cache.draw(torch.arange(COUNT), torch.Generator())
    assert drawn.dtype == torch.long
    assert torch.equal(drawn, encoded(vqvae, data))
    chosen = torch.tensor([COUNT - 1, 0, 7, 7])
    assert torch.equal(cache.draw(chosen, torch.Generator()), drawn[chosen])


def test_variants_are_drawn_alike_and_by_the_seed(vqvae, data):
    before = torch.get_rng_state()
    cache = make_cache(data, vqvae, variants=3, temperature=0.5, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(cache.tokens, make_cache(data, vqvae, variants=3, temperature=0.5, seed=1).tokens)
    assert not torch.equal(cache.tokens, make_cache(data, vqvae, variants=3, temperature=0.5, seed=2).tokens)
    assert not torch.equal(cache.tokens[0], cache.tokens[1])
    # Tell which variant each draw took by the tokens of an image that differ in all of them.
    index = next(i for i in range(COUNT) if len(cache.tokens[:, i].unique(dim=0)) == 3)
    drawn = cache.draw(torch.full((3000,), index), torch.Generator().manual_seed(0))
    counts = torch.stack([(drawn == variant[index]).all(1).sum() for variant in cache.tokens])
    assert counts.sum() == 3000
    assert (counts - 1000).abs().max() < 4 * (3000 * 2 / 9) ** 0.5


def test_variants_at_temperature_zero_are_all_the_same(vqvae, data):
    cache = make_cache(data, vqvae, variants=2)
    assert torch.equal(cache.tokens[0], cache.tokens[1])


def test_training_on_the_cache_is_training_on_the_images(vqvae, data):
    model = VAR(VARConfig(sides=(1, 2, 3), vocabulary=16, code_width=4, num_classes=5, depth=1, width=16, heads=2))
    indices = torch.tensor([110, 3, 3, 40])
    batch = Batch(data.images[indices], data.labels[indices], indices)
    task = TransformerTask(model, vqvae, label_drop=0.0)
    cached = TransformerTask(model, vqvae, label_drop=0.0, cache=make_cache(data, vqvae))
    expected, numbers = task.loss(model, batch, torch.Generator())
    found, same_numbers = cached.loss(model, batch, torch.Generator())
    torch.testing.assert_close(found, expected)
    assert set(numbers) == set(same_numbers)
    found.backward()
    assert model.head.weight.grad.any()
    # The images themselves are not looked at.
    blank = Batch(torch.zeros_like(batch.images), batch.labels, indices)
    torch.testing.assert_close(cached.loss(model, blank, torch.Generator())[0], expected)


def test_tokens_that_do_not_fit_16_bits(data):
    with pytest.raises(UserError, match="16-bit tokens, got a vocabulary of 32769"):
        make_cache(data, make_vqvae(vocabulary=2**15 + 1))


def test_the_progress_bar_can_be_turned_off(vqvae, data, capsys):
    make_cache(data, vqvae)
    assert capsys.readouterr() == ("", "")
    TokenCache.of(data, vqvae)
    assert "encode" in capsys.readouterr().err
