"""An augmentation in a module that worker processes import in no time."""

import time

import torch


def jitter(image, generator):
    """Add noise."""
    return (image + 0.05 * torch.randn(image.shape, generator=generator)).clamp(-1, 1)


def slow_jitter(image, generator):
    """The same in its time, so that training waits for its workers."""
    time.sleep(0.02)
    return jitter(image, generator)
