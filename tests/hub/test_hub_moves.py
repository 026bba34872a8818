"""Where a pipeline goes: to devices that there are and types that it computes in, and to nothing else."""

import numpy as np
import pytest
import torch
from tiny import tiny_diffusion_pipeline, tiny_pipeline
from tiny_models import one_line

from var.devices import check_device

pytestmark = pytest.mark.usefixtures("_untyped")


@pytest.fixture(scope="module", params=[tiny_pipeline, tiny_diffusion_pipeline], ids=["var", "diffusion"])
def pipe(request):
    return request.param()


DEVICES = [1000, -1, 10**19, pytest.param(10**5000, id="digits"), "cuda:1000", "x", ""]


@pytest.mark.parametrize("device", [*DEVICES, torch.zeros(1, device="meta")])
def test_devices_that_there_are_not(pipe, device):
    with one_line("device .* cannot be used here "):
        pipe.to(device)
    if not isinstance(device, torch.Tensor):
        with one_line("device .* cannot be used here "):
            type(pipe).from_pretrained("next-scale/digits", device=device)
        with one_line("device .* cannot be used here "):
            check_device(device)


def test_a_type_in_words_is_no_device(pipe):
    with one_line("models go to a device, to a float type or both, got the text 'bf16'; pass torch.bfloat16"):
        pipe.to("bf16")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.complex64, torch.int8, torch.bool])
def test_types_that_nothing_is_computed_in(pipe, dtype):
    for given in (dtype, torch.zeros(1).to(dtype)):
        with one_line("dtype must be a float type, got torch"):
            pipe.to(given)
    with one_line("dtype must be a float type, got torch"):
        pipe.to("cpu", dtype=dtype)


@pytest.mark.parametrize("given", [1.0, float("nan"), np.True_, True, 1j, np.int64(0), [1], b"cpu", np.float32, {}])
def test_what_is_neither_a_device_nor_a_type(pipe, given):
    """torch takes a number for a tensor: `pipe.to(1.0)` did nothing, and said nothing."""
    with one_line("models go to a device, to a float type or both, got "):
        pipe.to(given)


@pytest.mark.parametrize("keywords", [{"dvice": "cpu"}, {"dtype": "cpu"}, {"device": torch.float32}, {"device": True}])
def test_keywords_that_do_not_fit(pipe, keywords):
    with one_line("models go to a device, to a float type or both, but "):
        pipe.to(**keywords)


def test_what_fits(pipe):
    model = next(iter(pipe.models().values()))
    for args, keywords in (
        (("cpu", torch.float64), {}),
        ((torch.zeros(1, dtype=torch.float64), True), {}),
        ((), {"dtype": torch.float64, "device": torch.device("cpu"), "non_blocking": True}),
        ((torch.float64,), {"memory_format": torch.channels_last}),
    ):
        assert pipe.to(torch.float32) is pipe
        pipe.to(*args, **keywords)
        assert {each.dtype for each in model.parameters()} == {torch.float64}
    pipe.to(torch.float32).to(None).to()
