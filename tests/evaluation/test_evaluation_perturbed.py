"""Near misses among tokens: what they replace, and that the distance of what is decoded from them grows with them."""

import pytest
import torch
from annotations import unchecked

from var import VARPipeline
from var.data import digits
from var.errors import UserError
from var.evaluation import Statistics, frechet_distance, perturbed_tokens

LINE = torch.arange(12.0)[:, None] ** 1.1  # the codes nearest to code n are n - 1, then n + 1


def test_a_share_of_the_tokens_becomes_one_of_the_nearest_other_codes():
    maps = [torch.full((500, side, side), 5) for side in (1, 2)]
    drawn = perturbed_tokens(maps, lambda scale: LINE, share=0.3, nearest=2)
    for before, after in zip(maps, drawn, strict=True):
        assert after.shape == before.shape
        assert set(after.unique().tolist()) == {4, 5, 6}
        assert (after != 5).double().mean().item() == pytest.approx(0.3, abs=0.06)
    again = perturbed_tokens(maps, lambda scale: LINE, share=0.3, nearest=2)
    assert all(map(torch.equal, drawn, again))
    assert not torch.equal(perturbed_tokens(maps, lambda scale: LINE, share=0.3, nearest=2, seed=1)[1], drawn[1])
    more = perturbed_tokens(maps, lambda scale: LINE, share=0.6, nearest=2)
    assert all(((b == a) | (a == 5)).all() for a, b in zip(drawn, more, strict=True))
    assert (perturbed_tokens(maps, lambda scale: LINE, share=1, nearest=1)[1] == 4).all()


def test_without_a_share_it_is_the_plain_distance_and_it_grows_with_the_share():
    vqvae, images = VARPipeline.from_pretrained("next-scale/digits").vqvae, digits("test").images
    maps = vqvae.encode(images)
    real = Statistics.from_features(images.flatten(1))

    def distance(decoded):
        return frechet_distance(real, Statistics.from_features(decoded.detach().flatten(1)))

    found = [distance(vqvae.decode(perturbed_tokens(maps, vqvae.codes, share=share))) for share in (0, 0.1, 0.3, 1)]
    assert found[0] == distance(vqvae.reconstruct(images))
    assert found == sorted(found)
    assert found[-1] > 2 * found[0]


def test_wrong_requests_are_refused():
    maps = [torch.zeros(2, 1, 1, dtype=torch.long)]
    with unchecked():
        for given, said in (
            ({"share": 1.5}, r"share must lie in \[0, 1\]"),
            ({"share": float("nan")}, "share must"),
            ({"share": "half"}, "share must be a finite number"),
            ({"share": 0.5, "nearest": 12}, r"nearest must lie in \[1, 11\]"),
            ({"share": 0.5, "nearest": 0}, "nearest must lie"),
        ):
            with pytest.raises(UserError, match=said):
                perturbed_tokens(maps, lambda scale: LINE, **given)
