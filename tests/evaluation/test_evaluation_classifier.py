import pytest
import torch

from var.data.arrays import ArrayData
from var.errors import UserError
from var.evaluation import Classifier, ClassifierConfig, FeatureExtractor, train_classifier
from var.evaluation.features.classifier import ClassifierTask, jitter
from var.images import to_uint8

TINY = ClassifierConfig(
    name="bars", channels=1, height=6, width=5, num_classes=2, widths=(8, 4), strides=(1, 2), activation="relu"
)


@pytest.fixture(scope="module")
def bars():
    """Noisy images of 1x6x5 with a bar: upright (class 0) or lying (class 1)."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    images = torch.rand(200, 1, 6, 5, generator=generator) - 1
    for image, label, place in zip(images, labels, torch.randint(1, 4, (200,), generator=generator), strict=True):
        (image[0, :, place] if label == 0 else image[0, place, :]).fill_(1.0)
    return ArrayData(images, labels, classes=["upright", "lying"])


@pytest.fixture(scope="module")
def classifier(bars):
    return train_classifier(bars, config=TINY, steps=60, progress=False, device="cpu")


def test_it_learns(bars, classifier):
    assert classifier.accuracy(bars) > 0.95
    untrained = Classifier(TINY)
    assert untrained.accuracy(bars) < 0.8


def test_it_is_a_frozen_extractor_of_single_images(bars, classifier):
    assert isinstance(classifier, FeatureExtractor)
    assert classifier.name == "bars"
    assert not classifier.training
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
    images = to_uint8(bars.images[:50])
    classifier.train()  # nobody may turn a judge into one that compares neighbours
    whole = classifier(images)
    classifier.eval()
    assert whole.features.shape == (50, 4)
    assert whole.logits.shape == (50, 2)
    alone = torch.cat([classifier(image[None]).features for image in images])
    torch.testing.assert_close(alone, whole.features, atol=1e-5, rtol=1e-5)


def test_the_seed_decides_everything(bars, classifier):
    torch.manual_seed(123)  # the global stream has no say
    again = train_classifier(bars, config=TINY, steps=60, progress=False, device="cpu")
    other = train_classifier(bars, config=TINY, steps=60, seed=1, progress=False, device="cpu")
    assert again.digest == classifier.digest
    assert other.digest != classifier.digest


def test_a_saved_classifier_is_the_same_judge(bars, classifier, tmp_path):
    classifier.save_pretrained(tmp_path)
    loaded = Classifier.from_pretrained(tmp_path)
    assert loaded.config == TINY
    assert loaded.digest == classifier.digest
    images = to_uint8(bars.images)
    assert (loaded(images).features == classifier(images).features).all()


def test_the_digest_knows_weights_and_config(classifier):
    assert len(classifier.digest) == 64
    torch.manual_seed(0)
    first, second = Classifier(TINY), Classifier(TINY)
    assert first.digest != second.digest
    second.load_state_dict(first.state_dict())
    assert first.digest == second.digest
    second.network.body[1].running_mean[0] += 1
    assert first.digest != second.digest


def test_the_default_is_for_digits():
    torch.manual_seed(0)
    network = Classifier(ClassifierConfig())
    found = network(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    assert found.features.shape == (2, 64)
    assert 50_000 < sum(parameter.numel() for parameter in network.parameters()) < 100_000
    # The second judge: another shape of network under the same interface.
    other = Classifier(ClassifierConfig(name="check", widths=(24, 48, 96), strides=(1, 1, 2), activation="silu"))
    assert other(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).features.shape == (2, 96)


def test_jitter_moves_a_little_and_keeps_black():
    image = torch.full((64, 1, 9, 9), -1.0)
    assert (jitter(image, torch.Generator().manual_seed(0)) == -1).all()
    image[:, :, 4, 4] = 1
    moved = jitter(image, torch.Generator().manual_seed(0))
    assert moved.min() >= -1
    assert moved.max() <= 1
    weight = (moved + 1)[:, 0]
    centre = (weight.sum(1) * torch.arange(9)).sum(1) / weight.sum((1, 2))
    assert (centre - 4).abs().max() < 1.5
    assert centre.std() > 0.1
    assert (moved == jitter(image, torch.Generator().manual_seed(0))).all()


def test_the_loss_is_cross_entropy_of_the_model_it_is_given(bars):
    from var.data.batches import batches

    batch = next(iter(batches(bars, 20, seed=0)))

    class Certain(torch.nn.Module):
        def forward(self, images):
            return images.flatten(1), torch.nn.functional.one_hot(batch.labels, 2) * 1000.0

    loss, numbers = ClassifierTask(torch.nn.Identity()).loss(Certain(), batch, torch.Generator().manual_seed(0))
    assert loss.item() == pytest.approx(0.05 / 2 * 1000)  # only the smoothing is left
    assert float(numbers["accuracy"]) == 1


def test_bad_input_is_refused(bars, classifier):
    with pytest.raises(UserError, match=r"judges images .* = \(1, 6, 5\), got \(1, 8, 8\)"):
        classifier(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(UserError, match=r"10 classes of images \(1, 8, 8\), got 2 classes of \(1, 6, 5\)"):
        train_classifier(bars, progress=False)
    with pytest.raises(UserError, match="the same length"):
        ClassifierConfig(widths=(8, 8), strides=(1,))
    with pytest.raises(UserError, match="at least 1"):
        ClassifierConfig(widths=(8, 0), strides=(1, 1))
    with pytest.raises(UserError, match=r"unknown activation 'gleu'; did you mean .*'gelu'"):
        ClassifierConfig(activation="gleu")
