"""Pipelines that the tests of generation share."""

import pytest
from tiny import tiny_pipeline


@pytest.fixture(scope="session")
def pipe():
    """A pipeline of 1, 2 and 3 a side on 6x6 images; no test may change it."""
    return tiny_pipeline()


@pytest.fixture(scope="session")
def rectangular_pipe():
    """A pipeline of 1x2, 2x3 and 3x4 on 6x8 images with shared modulation and plain attention."""
    return tiny_pipeline(((1, 2), (2, 3), (3, 4)), shared_adaln=True, l2_attention=False)


@pytest.fixture
def own_pipe():
    """The first pipeline again, for a test that changes or watches it."""
    return tiny_pipeline()
