import pytest
import torch

from var.errors import UserError
from var.evaluation import gaussian_per_class, real_halves, token_marginals


@pytest.fixture
def labelled():
    """400 images of 1x2x2 in two classes, whose pixels are correlated and far from the borders -1 and 1."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    noise = torch.randn(400, 4, generator=generator) @ torch.tensor(
        [[0.1, 0.1, 0.0, 0.0], [0.0, 0.05, 0.0, 0.0], [0.0, 0.0, 0.1, -0.1], [0.0, 0.0, 0.0, 0.02]]
    )
    means = torch.tensor([[-0.3, -0.3, 0.2, 0.2], [0.3, 0.1, 0.0, -0.2]])[labels]
    return (means + noise).reshape(400, 1, 2, 2), labels


def test_the_gaussian_has_the_moments_of_its_class(labelled):
    images, labels = labelled
    drawn = gaussian_per_class(images, labels, 20_000, seed=3)
    assert drawn.shape == (40_000, 1, 2, 2)
    assert drawn.dtype == images.dtype
    for label, found in enumerate(drawn.flatten(1).split(20_000)):
        real = images[labels == label].flatten(1)
        torch.testing.assert_close(found.mean(0), real.mean(0), atol=4e-3, rtol=0)
        torch.testing.assert_close(found.T.cov(), real.T.cov() + 1e-4 * torch.eye(4), atol=6e-4, rtol=0)


def test_the_gaussian_is_a_function_of_its_seed_and_stays_in_range(labelled):
    images, labels = labelled
    assert (gaussian_per_class(images, labels, 5, 1) == gaussian_per_class(images, labels, 5, 1)).all()
    assert (gaussian_per_class(images, labels, 5, 1) != gaussian_per_class(images, labels, 5, 2)).all()
    assert gaussian_per_class(3 * images, labels, 500, 1).abs().max() == 1


def test_few_images_with_dead_pixels_are_enough_for_a_gaussian():
    images = torch.full((2, 1, 8, 8), 0.5)
    drawn = gaussian_per_class(images, torch.tensor([4, 4]), 200, 0)
    assert drawn.mean().item() == pytest.approx(0.5, abs=1e-3)
    assert drawn.std().item() == pytest.approx(0.01, rel=0.05)


def test_token_marginals_keep_places_and_break_their_ties():
    # In class 0 the two tokens of the second map are equal in every image, in class 1 all is 7.
    coin = torch.arange(300) % 2
    labels = torch.cat([torch.zeros(300), torch.ones(10)]).long()
    first = torch.cat([2 + coin, torch.full((10,), 7)]).reshape(-1, 1, 1)
    second = torch.cat([torch.stack([coin, coin], 1), torch.full((10, 2), 7)]).reshape(-1, 1, 2)
    drawn = token_marginals([first, second], labels, 2, 1000, seed=0)
    assert [tuple(maps.shape) for maps in drawn] == [(2000, 1, 1), (2000, 1, 2)]
    assert all((maps[1000:] == 7).all() for maps in drawn)
    assert set(drawn[0][:1000].flatten().tolist()) == {2, 3}
    left, right = drawn[1][:1000, 0].T
    assert (left == right).double().mean().item() == pytest.approx(0.5, abs=0.05)
    assert left.double().mean().item() == pytest.approx(0.5, abs=0.05)
    again = token_marginals([first, second], labels, 2, 1000, seed=0)
    assert all((a == b).all() for a, b in zip(drawn, again, strict=True))


def test_halves_are_disjoint_and_equal():
    images = torch.arange(11.0).reshape(11, 1, 1, 1)
    first, second = real_halves(images, seed=0)
    assert len(first) == len(second) == 5
    assert len({*first.flatten().tolist(), *second.flatten().tolist()}) == 10
    assert (first == real_halves(images, seed=0)[0]).all()
    assert (first != real_halves(images, seed=1)[0]).any()


def test_bad_input_is_refused(labelled):
    images, labels = labelled
    with pytest.raises(UserError, match="class 5 has 1"):
        gaussian_per_class(images[:3], torch.tensor([0, 0, 5]), 5, 0)
    with pytest.raises(UserError, match="got 400 images and 3 labels"):
        gaussian_per_class(images, labels[:3], 5, 0)
    with pytest.raises(UserError, match="class 2 has none"):
        token_marginals([torch.zeros(400, 1, 1, dtype=torch.int64)], labels, 3, 5, 0)
    with pytest.raises(UserError, match="at least 4 images, got 3"):
        real_halves(images[:3], 0)
