import dataclasses

import numpy as np
import pytest
import torch

from var.errors import UserError
from var.evaluation import (
    Features,
    Reference,
    Statistics,
    density_coverage,
    evaluate,
    frechet_distance,
    frechet_infinity,
    inception_score,
    kernel_distance,
    memorization,
    precision_recall,
)


@pytest.fixture
def reference(images, extractor):
    return Reference.from_images(images(200, 0), extractor, train_images=images(150, 0).split(40))


def numbers(scores) -> dict[str, float]:
    return {name: value for name, value in scores.to_dict().items() if value is not None}


def test_every_score_is_the_metric_of_that_name(images, extractor, reference):
    samples = images(120, 1, low=64)
    scores = evaluate(samples, reference, extractor, labels=[0] * 120)
    real, fake = extractor(images(200, 0)), extractor(samples)
    assert scores.samples == 120
    assert scores.fd == frechet_distance(*map(Statistics.from_features, (real.features, fake.features)))
    assert scores.kd == kernel_distance(real.features, fake.features)
    assert (scores.precision, scores.recall) == precision_recall(real.features, fake.features)
    assert scores.inception_score == pytest.approx(inception_score(fake.logits, splits=1)[0], rel=1e-12)
    assert scores.sharpness * scores.diversity == pytest.approx(scores.inception_score)
    assert scores.class_consistency == (fake.logits.argmax(1) == 0).double().mean()
    pixels, train = (x.double().flatten(1) / 127.5 - 1 for x in (samples, images(150, 0)))
    expected = np.median(torch.cdist(pixels, train).min(1).values)
    assert scores.nearest_train_distance == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore::var.evaluation.RankDeficientWarning")
def test_a_thorough_evaluation_adds_the_slow_numbers(images, spatial_extractor, monkeypatch):
    samples, real = images(120, 1, low=64), images(200, 0)
    reference = Reference.from_images(real, spatial_extractor, train_images=real, test_images=images(50, 3))
    quick = evaluate(samples, reference, spatial_extractor)
    scores = evaluate(iter(samples.split(11)), reference, spatial_extractor, thorough=True)
    assert numbers(quick) == {name: value for name, value in numbers(scores).items() if name in numbers(quick)}
    real_found, found = spatial_extractor(real), spatial_extractor(samples)
    assert scores.sfd == frechet_distance(*(Statistics.from_features(x.spatial) for x in (real_found, found)))
    line = frechet_infinity(reference.statistics, found.features)
    assert (scores.fd_infinity, scores.fd_infinity_slope) == (line.value, line.slope)
    assert scores.fd_infinity_error == line.error
    assert scores.kd_subsets is None
    monkeypatch.setattr("var.evaluation.table.SUBSET", 60)
    subsets = evaluate(samples, reference, spatial_extractor, thorough=True).kd_subsets
    assert subsets == kernel_distance(real_found.features, found.features, subset_size=60)[0]
    assert scores.inception_score_splits == inception_score(found.logits)[0]
    assert (scores.density, scores.coverage) == density_coverage(real_found.features, found.features)
    pixels = [x.float().flatten(1) / 127.5 - 1 for x in (samples, images(50, 3), real)]
    assert scores.closer_share == memorization(*pixels).closer_share


def test_copies_of_large_images_are_looked_for_among_features(extractor):
    class Pooled(type(extractor)):
        def __call__(self, images):
            return Features(features=images[:, :, :4, 0].float().flatten(1))

    judge = Pooled()
    large = torch.randint(0, 256, (20, 3, 65, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    other = large.flip(0).roll(9, 3)
    reference = Reference.from_images(large, judge, train_images=large.split(4), test_images=other)
    assert reference.neighbourhood is not None
    assert reference.neighbourhood.space == "features"
    scores = evaluate(large, reference, judge)
    assert scores.nearest_train_distance == 0
    assert scores.closer_share == 1
    with pytest.raises(UserError, match="give both or neither"):
        Reference.from_images(large, judge, test_images=large)


def test_a_reference_of_statistics_alone_gives_what_it_can(images, extractor, reference):
    alone = dataclasses.replace(reference, features=None, neighbourhood=None)
    scores = evaluate(images(120, 1), alone, extractor, thorough=True)
    assert scores.fd == evaluate(images(120, 1), reference, extractor).fd
    assert scores.fd_infinity is not None
    assert scores.kd is scores.precision is scores.recall is scores.density is scores.kd_subsets is None


def test_batches_and_one_pass_iterators_do_not_matter(images, extractor, reference):
    samples, labels = images(90, 2), torch.arange(90) % 3
    whole = evaluate(samples, reference, extractor, labels=labels)
    assert evaluate(iter(samples.split(7)), reference, extractor, labels=labels.tolist()) == whole
    assert evaluate(samples.numpy(), reference, extractor, labels=labels.numpy()) == whole
    order = torch.randperm(90, generator=torch.Generator().manual_seed(0))
    shuffled = evaluate(samples[order], reference, extractor, labels=labels[order])
    assert numbers(shuffled) == pytest.approx(numbers(whole), rel=1e-9)


def test_the_reference_itself_is_perfect(images, extractor, reference):
    scores = evaluate(images(200, 0), reference, extractor)
    assert scores.fd < 1e-9
    assert scores.kd < 0  # unbiased: real pairs without the diagonal, the pairs across with it
    assert (scores.precision, scores.recall) == (1.0, 1.0)
    assert scores.nearest_train_distance == 0


def test_what_cannot_be_known_is_none(images, featureless):
    reference = Reference.from_images(images(50, 0), featureless)
    scores = evaluate(images(40, 1), reference, featureless)
    assert scores.inception_score is scores.sharpness is scores.diversity is None
    assert scores.class_consistency is scores.nearest_train_distance is None
    with pytest.raises(UserError, match="class consistency needs logits"):
        evaluate(images(40, 1), reference, featureless, labels=[0] * 40)


def test_bad_input_is_refused(images, extractor, reference):
    samples = images(30, 1)
    with pytest.raises(UserError, match="samples must be uint8"):
        evaluate(samples.float(), reference, extractor)
    with pytest.raises(UserError, match="samples must hold at least 2 images, got 1"):
        evaluate(samples[:1], reference, extractor)
    with pytest.raises(UserError, match="reference images must hold at least 2"):
        Reference.from_images(samples[:1], extractor)
    with pytest.raises(UserError, match="labels must be 30 integers"):
        evaluate(samples, reference, extractor, labels=[0] * 29)
    with pytest.raises(UserError, match="labels must be from 0 to 2, got 0 to 3"):
        evaluate(samples, reference, extractor, labels=[0] * 29 + [3])
    with pytest.raises(UserError, match="seen by one network"):
        evaluate(samples, dataclasses.replace(reference, digest="1" * 64), extractor)
    with pytest.raises(UserError, match="train_images"):
        Reference.from_images(samples, extractor, train_images=samples[:0])


def test_nan_features_are_named(images, extractor, reference):
    class Broken(type(extractor)):
        def __call__(self, images):
            found = super().__call__(images)
            found.features[1, 0] = float("nan")
            return found

    with pytest.raises(UserError, match="samples' features must be finite"):
        evaluate(images(30, 1), reference, Broken())
