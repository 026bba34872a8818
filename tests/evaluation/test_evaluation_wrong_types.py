"""Types that users do pass: each is taken, or refused in one line as a wrong value is (fault F21)."""

import numpy as np
import pytest
import torch
from annotations import unchecked
from levelled_sets import LevelJudge

from var.errors import UserError
from var.evaluation import (
    LPIPS,
    Classifier,
    ClassifierConfig,
    Reference,
    Statistics,
    density_coverage,
    evaluate,
    evaluate_reconstructions,
    extract,
    frechet_distance,
    frechet_infinity,
    gaussian_per_class,
    inception_score,
    kernel_distance,
    memorization,
    nearest_distance,
    precision_recall,
    psnr,
    real_halves,
    sequential_inception_score,
    sharpness_and_diversity,
    ssim,
)
from var.evaluation.features.catalog import open_extractor
from var.evaluation.metrics.class_consistency import class_consistency
from var.evaluation.sets.protocols import protocol
from var.evaluation.sets.rejection import check_share

pytestmark = pytest.mark.filterwarnings("ignore::var.evaluation.RankDeficientWarning")

REAL = np.random.default_rng(0).standard_normal((30, 3))
FAKE = np.random.default_rng(1).standard_normal((20, 3))
IMAGES = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (30, 1, 4, 4), dtype=np.uint8))
MOMENTS = Statistics.from_features(REAL)
JUDGE = LevelJudge()
REFERENCE = Reference.from_images(IMAGES, JUDGE)


def judged(samples=IMAGES, reference=REFERENCE, judge=JUDGE, **options):
    return evaluate(samples, reference, judge, **options)


REFUSED = [
    *(
        lambda k=k, of=of: of(REAL, FAKE, k=k)
        for k in (0, -1, "3", 1.5, None, True, 10**9, [1])
        for of in (precision_recall, density_coverage)
    ),
    *(lambda n=n: kernel_distance(REAL, FAKE, subset_size=n) for n in (1, 21, "5", 2.5, [2])),
    *(lambda n=n: kernel_distance(REAL, FAKE, subsets=n) for n in (0, "5", 2.5)),
    *(lambda n=n: kernel_distance(REAL, FAKE, subsets=3, subset_size=5, seed=n) for n in (-1, "x", 2**32, None)),
    *(lambda n=n: inception_score(REAL, splits=n) for n in (0, 31, "2", 1.5, None)),
    *(lambda n=n: inception_score(REAL, seed=n) for n in (-1, "x", 2**40)),
    *(lambda n=n: sequential_inception_score(REAL, n) for n in (0, "2", 1.5)),
    *(lambda n=n: frechet_infinity(MOMENTS, FAKE, points=n) for n in (2, "15", 3.5)),
    *(lambda n=n: frechet_infinity(MOMENTS, FAKE, smallest=n) for n in (1, 20, "2")),
    *(
        lambda bad=bad, of=of: of(bad, FAKE)
        for bad in (
            *(None, 3, "x", [], [[]], [[1, 2], [3]], [["1", "2", "3"]] * 9),
            *(REAL[0], REAL.astype(complex), {"a": 1}, [None] * 9),
        )
        for of in (precision_recall, density_coverage, kernel_distance, nearest_distance)
    ),
    *(lambda bad=bad: sharpness_and_diversity(bad) for bad in (None, 3, "x", [], [[1], [2, 3]], REAL[0])),
    lambda: memorization(FAKE, [], REAL),
    lambda: frechet_distance(REAL, FAKE),
    lambda: frechet_infinity(REAL, FAKE),
    lambda: Statistics.from_features(None),
    *(lambda bad=bad: judged(bad) for bad in (None, 3, "x", [], [[1, 2]], [IMAGES, 3], {"a": IMAGES}, iter([]))),
    *(
        lambda bad=bad: judged(bad)
        for bad in (
            IMAGES.float(),
            IMAGES.numpy().astype(np.uint16),
            IMAGES[0],
            IMAGES[:, 0],
            IMAGES.permute(0, 2, 3, 1).repeat(1, 2, 1, 1),
            torch.tensor(3, dtype=torch.uint8),
            [IMAGES, IMAGES[:, :, :2]],
            [IMAGES.float()],
            np.array([None]),
        )
    ),
    *(lambda bad=bad: judged(reference=bad) for bad in (IMAGES, None, MOMENTS)),
    *(lambda bad=bad: judged(judge=bad) for bad in (None, "inception", lambda images: images)),
    *(
        lambda bad=bad: judged(labels=bad)
        for bad in ("x", 3, [0] * 29, [0.0] * 30, ["0"] * 30, [[0], [1, 2]], [True] * 30, [10] * 30)
    ),
    *(lambda bad=bad: Reference.from_images(bad, JUDGE) for bad in (None, [], IMAGES[:1], "x")),
    *(lambda bad=bad: extract(bad, JUDGE) for bad in (None, torch.tensor(1), 3)),
    *(lambda bad=bad: psnr(bad, IMAGES) for bad in (None, "x", IMAGES[:3], IMAGES.long(), [[1], [2, 3]])),
    *(lambda bad=bad: ssim(bad, bad) for bad in (None, "x", IMAGES[0], IMAGES.float() - 1)),
    lambda: evaluate_reconstructions(IMAGES, None),
    lambda: evaluate_reconstructions([IMAGES[:10]], [IMAGES[:9]]),
    lambda: evaluate_reconstructions([], []),
    *(lambda bad=bad: LPIPS()(bad, bad) for bad in (None, IMAGES, torch.zeros(3, 16, 16), torch.zeros(1, 2, 16, 16))),
    *(
        lambda bad=bad: Classifier(ClassifierConfig(height=4, width=4))(bad)
        for bad in (None, IMAGES.float(), IMAGES[0], IMAGES.numpy())
    ),
    lambda: class_consistency(torch.zeros(3, 2), [0, 1, 2]),
    *(lambda n=n: gaussian_per_class(IMAGES.float(), torch.zeros(30).long(), n, 0) for n in (0, "3", 1.5)),
    lambda: gaussian_per_class(IMAGES.float(), [0] * 30, 3, 0),
    lambda: real_halves(IMAGES[:3].float(), 0),
    *(lambda bad=bad: check_share(bad) for bad in (0, 1.5, "0.5", None, float("nan"))),
    *(lambda bad=bad: protocol(bad) for bad in (3, None, "digts", "x" * 5000)),
    *(lambda bad=bad: open_extractor(bad) for bad in (3, None, "", "x" * 5000, "timm:", "timm:nope", "a\nb")),
]  # fmt: skip


@pytest.mark.parametrize("call", REFUSED, ids=[f"{call.__code__.co_firstlineno}" for call in REFUSED])
def test_what_is_wrong_is_one_line(call):
    with unchecked(), pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000  # `--extractor timm:nope` printed 29 KB


class TestTaken:
    def test_numbers_of_numpy(self):
        with unchecked():
            assert precision_recall(REAL, FAKE, k=np.int64(3)) == precision_recall(REAL, FAKE, k=3)
            assert inception_score(REAL, splits=np.int32(2)) == inception_score(REAL, splits=2)
            check_share(np.float32(0.5))

    def test_lists_are_arrays(self):
        with unchecked():
            assert precision_recall(REAL.tolist(), FAKE.tolist()) == precision_recall(REAL, FAKE)
            assert kernel_distance(REAL.tolist(), FAKE) == kernel_distance(REAL, FAKE)
            assert frechet_infinity(MOMENTS, FAKE.tolist()) == frechet_infinity(MOMENTS, FAKE)
            assert Statistics.from_features(REAL.tolist()).mean.tolist() == MOMENTS.mean.tolist()

    def test_arrays_that_are_turned_or_locked(self):
        turned = IMAGES.numpy()[:, :, ::-1]
        expected = judged(torch.from_numpy(turned.copy()))
        assert judged(turned) == expected
        locked = turned.copy()
        locked.flags.writeable = False
        assert judged(locked) == expected

    def test_labels_in_every_form(self):
        expected = judged(labels=[0] * 30)
        for labels in (np.zeros(30, np.uint8), torch.zeros(30, dtype=torch.int32), tuple([0] * 30), range(1)):
            if len(labels) == 30:
                assert judged(labels=labels) == expected


class TestFewSamples:
    """3 samples: "k must be from 1 to 2, got 3; change it", but there was no k to change."""

    @pytest.mark.parametrize(("samples", "real"), [(3, 30), (2, 2), (30, 3), (30, 5)])
    def test_what_needs_more_is_left_out(self, samples, real):
        reference = Reference.from_images(IMAGES[:real], JUDGE)
        scores = judged(IMAGES[:samples], reference, thorough=True)
        assert scores.fd >= 0
        assert (scores.precision is None) == (min(samples, real) <= 3)
        assert (scores.density is None) == (real <= 5)
