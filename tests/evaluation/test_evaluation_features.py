import subprocess
import sys

import numpy as np
import pytest

from var import evaluation
from var.errors import UserError
from var.evaluation import FeatureExtractor, extract


def test_every_public_name_is_there_and_none_costs_an_import():
    assert dir(evaluation) == sorted(evaluation.__all__)
    for name in evaluation.__all__:
        assert getattr(evaluation, name).__module__.startswith("var.evaluation.")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = evaluation.nothing
    code = "import sys, var.evaluation; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_batches_and_one_array_give_the_same_features(images, extractor):
    whole = images(1203, 0)
    assert isinstance(extractor, FeatureExtractor)
    expected = extract(whole, extractor)
    for form in (whole.split(100), iter(whole.split(7)), whole.numpy(), [whole[:0], whole]):
        found = extract(form, extractor)
        assert (found.features == expected.features).all()
        assert (found.logits == expected.logits).all()
    assert expected.features.shape == (1203, 12)


def test_logits_are_optional(images, featureless):
    assert extract(images(5, 0), featureless).logits is None


def test_bad_images_are_refused(images, extractor):
    good = images(4, 0)
    with pytest.raises(UserError, match=r"fakes must be uint8 in 0\.\.255, got torch\.float32; use var\.images"):
        extract(good.float(), extractor, name="fakes")
    with pytest.raises(UserError, match=r"\(batch, channels, height, width\), got \(4, 3, 2\)"):
        extract([good[..., 0]], extractor)
    with pytest.raises(UserError, match="looks like NHWC"):
        extract(np.zeros((4, 32, 32, 3), np.uint8), extractor)
    for few in (good[:1], good[:0], [], [good[:1]]):
        with pytest.raises(UserError, match=r"at least 2 images, got [01]"):
            extract(few, extractor)
