import numpy as np
import pytest
import torch

from var.errors import UserError, suggestion
from var.randomness import keyed_generator, keyed_global_stream, keyed_seed


def test_keyed_seed_is_the_same_everywhere():
    # Golden: a changed value would silently change every data split and every resumed run.
    assert keyed_seed("augment", 0, 1, 2) == 7850583194685952030
    assert 0 <= keyed_seed("augment", 0, 1, 2) < 2**63


def test_keyed_seed_depends_on_every_part_and_its_place():
    keys = [("a", 1, 2), ("a", 2, 1), ("a", 12), ("a", 1), ("b", 1, 2), ("a", "1", 2), ("a", 1, 2, 0), ("a1", 2), ()]
    assert len({keyed_seed(*key) for key in keys}) == len(keys)


def test_generators_of_one_key_agree_and_of_two_do_not():
    first, same, other = (torch.rand(4, generator=keyed_generator("noise", 0, step)).tolist() for step in (5, 5, 6))
    assert first == same
    assert first != other


def test_a_number_of_another_library_names_the_same_stream():
    assert keyed_seed("order", np.int64(7)) == keyed_seed("order", torch.tensor(7)) == keyed_seed("order", 7)
    with pytest.raises(TypeError, match=r"interpreted as an integer|SupportsIndex"):
        keyed_seed("order", np.float64(7).item())


def test_global_stream_is_keyed_inside_and_untouched_outside():
    torch.manual_seed(123)
    expected = torch.rand(2)
    torch.manual_seed(123)
    with keyed_global_stream("dropout", 0, 7):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(2), expected)
    torch.rand(100)
    with keyed_global_stream("dropout", 0, 7):
        assert torch.equal(torch.rand(3), inside)


def test_global_stream_is_restored_after_an_error():
    torch.manual_seed(123)
    expected = torch.rand(2)
    torch.manual_seed(123)
    with pytest.raises(IndexError), keyed_global_stream("dropout", 1):
        torch.rand(3)[5]
    assert torch.equal(torch.rand(2), expected)


def test_the_streams_of_gpus_are_no_matter_of_the_cpu(monkeypatch):
    """They were seeded too, for good, though only the CPU's came back."""
    monkeypatch.setattr(torch, "manual_seed", lambda seed: pytest.fail("seeds all devices"))
    with keyed_global_stream("dropout", 0, 7):
        torch.rand(1)


def test_suggestion_names_the_nearest_else_all():
    assert suggestion("digts", ["digits", "faces"]) == "did you mean 'digits'?"
    assert suggestion("zzz", ["b", "a"]) == "choose one of 'a', 'b'"
    assert issubclass(UserError, ValueError)
