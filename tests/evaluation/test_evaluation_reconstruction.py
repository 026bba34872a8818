import numpy as np
import pytest
import torch

from var.errors import UserError
from var.evaluation import psnr


def test_a_known_error_by_hand():
    images = torch.zeros(2, 1, 4, 4)
    noisy = images.clone()
    noisy[0] += 0.1  # mean squared error 0.01: 20 dB
    noisy[1, 0, 0, 0] = 0.4  # 0.16 / 16: 20 dB too
    assert psnr(images, noisy).tolist() == pytest.approx([20, 20], rel=1e-6)


def test_equal_images_are_infinitely_near():
    images = torch.full((3, 1, 2, 2), 7, dtype=torch.uint8)
    assert psnr(images, images).tolist() == [float("inf")] * 3


def test_it_agrees_with_the_libraries(cases, arrays):
    case = cases["psnr_ssim"]
    target, pred = (arrays(case["file"])[name] for name in ("target", "pred"))
    found = psnr(target, torch.from_numpy(pred))
    assert found.tolist() == pytest.approx(case["psnr_per_image"], abs=1e-9)
    assert found.mean().item() == pytest.approx(case["psnr_mean_of_images"], abs=1e-9)
    assert psnr(target / 255, pred / 255).tolist() == pytest.approx(case["psnr_per_image"], abs=1e-9)


def test_bad_input_is_refused():
    images = torch.zeros(2, 1, 4, 4)
    with pytest.raises(UserError, match="one shape"):
        psnr(images, images[:1])
    with pytest.raises(UserError, match=r"reconstructions must be in \[0, 1\], got \[-1, -1\]"):
        psnr(images, images - 1)
    with pytest.raises(UserError, match="images must be in"):
        psnr(images * np.nan, images)
    with pytest.raises(UserError, match=r"got torch\.int64"):
        psnr(images.long(), images)
