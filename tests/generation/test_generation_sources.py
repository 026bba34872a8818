"""Reading what tensors hold: every change of any kind, size, type and layout shows."""

import pytest
import torch

from var.generation.sources import PERIOD, RUN, Sources


def swapped(indices, axis):
    def change(weight):
        first, second = indices
        both = weight.index_select(axis, torch.tensor([second, first]))
        weight.index_copy_(axis, torch.tensor([first, second]), both)

    return change


CHANGES = {
    "one bit": lambda weight: weight.view(torch.int16).view(-1)[-77].__ixor__(1),
    "rows": swapped((0, 1), 0),
    "distant rows": swapped((3, 1000), 0),
    "columns": swapped((0, 2), 1),
    "neighbours": swapped((4, 5), 1),
    "signs": lambda weight: weight.neg_(),
    "every other sign": lambda weight: weight[:, 1::2].neg_(),
    "sign of a row": lambda weight: weight[5].neg_(),
    "order": lambda weight: weight.copy_(weight.flip(1)),
    "shift": lambda weight: weight.copy_(weight.roll(2, 1)),
    "a head": lambda weight: weight[:64].copy_(weight[64:128].clone()),
    "transposed": lambda weight: weight[:1024, :1024].copy_(weight[:1024, :1024].T.clone()),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("change", CHANGES)
def test_sums_tell_large_tensors_apart(change, dtype):
    weight = torch.randn(1536, 1024).to(dtype)
    assert weight.nbytes > RUN * PERIOD * 8
    sources = Sources([weight], [])
    assert sources.are([weight.clone()])
    CHANGES[change](weight)
    assert not sources.are([weight])


def test_exchanged_rows_of_an_identity_are_seen():
    """Whose sums along rows and along columns are all the same."""
    for first, second in [(0, 2), (5, 7), (100, 228), (0, 1016), (3, 700)]:
        weight = torch.eye(1024)
        sources = Sources([weight], [])
        swapped((first, second), 0)(weight)
        assert not sources.are([weight])


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3,), (5, 7), (300_001,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool, torch.int8, torch.complex64])
def test_all_sizes_and_types_are_read(shape, dtype):
    tensor = torch.zeros(shape, dtype=dtype)
    sources = Sources([tensor], [])
    assert sources.are([tensor])
    if tensor.numel():
        tensor.view(-1)[-1] = 1
        assert not sources.are([tensor])
    assert not sources.are([])
    assert not sources.are([tensor, tensor])
    assert not sources.are([tensor[None]])


@pytest.mark.parametrize(
    "lay_out",
    [
        lambda: torch.randn(64, 64, 9, 9).to(memory_format=torch.channels_last),
        lambda: torch.randn(900, 900).T,
        lambda: torch.randn(1500, 1500)[1:, 1::2],
        lambda: torch.randn(700_001)[1:],
        lambda: torch.randn(1_500_001).half()[1:],
        lambda: torch.randn(5).expand(7, 5),
    ],
)
def test_all_layouts_are_read(lay_out):
    for where in (0, -1):
        tensor = lay_out()
        sources = Sources([tensor], [])
        assert sources.are([tensor])
        tensor[(where,) * tensor.ndim] += 1
        assert not sources.are([tensor])


def test_what_is_referred_to_has_to_stay_in_its_place():
    tensor = torch.randn(4, 4)
    sources = Sources([tensor], [tensor.detach()])
    tensor.add_(1)
    assert sources.are([tensor])  # who refers to it sees the new values
    assert not sources.are([tensor.clone()])
    assert not sources.are([tensor.T])
    flat = torch.randn(32)
    both = [flat[:16].view(4, 4), flat[16:].view(4, 4)]  # of one storage, one of them copied
    sources = Sources(both, both[:1])
    flat[20] += 1
    assert not sources.are(both)
