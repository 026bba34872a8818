"""The tensors of networks: digests that saved records hold, names and shapes compared, tensors written whole."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from var.errors import UserError
from var.eval_mode import eval_mode
from var.evaluation.features.digests import network_digest
from var.foreign.weights import opened_tensors, save_tensors
from var.recipes.transformer.token_cache_files import tokenizer_digest
from var.sampling.record import fingerprint
from var.vqvae import VQVAE, VQVAEConfig
from var.weights import add_to_digest, check_fit, kinds_of


@dataclass(frozen=True)
class Config:
    width: int = 3


def counted(network):
    """`network` with weights that no version of torch draws in another way."""
    with torch.no_grad():
        for number, value in enumerate(network.state_dict().values()):
            value.copy_((torch.arange(value.numel()).view(value.shape) % 251 - number).to(value.dtype))
    return network


def network():
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(100, 100).to(torch.bfloat16))
    layers.config = Config()
    return counted(layers)


def test_digests_are_those_that_records_references_and_caches_of_before_hold():
    assert network_digest("about", network()) == "2fff686451d6bba2329d08c76f997b0a2e58333164d8d7476c4ac26b4e7868d1"
    assert fingerprint(network(), network(), settings=("a", 1)) == "09ae888116fd950e"
    config = VQVAEConfig(sides=(1, 2), base_channels=8, channel_multipliers=(1, 2), norm_groups=4, vocabulary=8)
    vqvae = counted(VQVAE(config))
    assert tokenizer_digest(vqvae) == "119c9e2100cf0256ea957e481a38d00d"


def test_a_sampled_digest_looks_at_every_tensor():
    kinds = [torch.zeros(10_000), torch.zeros(()), torch.zeros(0), torch.zeros(3, dtype=torch.bfloat16)]

    def digest(values):
        result = hashlib.sha256()
        add_to_digest(result.update, {str(number): value for number, value in enumerate(values)}.items(), sampled=100)
        return result.hexdigest()

    before = digest(kinds)
    assert digest(kinds) == before
    for number in (0, 1, 3):
        assert digest([value + (place == number) for place, value in enumerate(kinds)]) != before
    assert digest([*kinds[:2], torch.zeros(0, 1), kinds[3]]) != before


WANTED = {"a": torch.zeros(2), "b": torch.zeros(3, dtype=torch.int64), "c": torch.zeros(())}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"a": torch.zeros(2, dtype=torch.bfloat16)}, None),
        ({"a": torch.zeros(1, 2)}, r"a has shape \(1, 2\) instead of \(2,\)"),
        ({"b": torch.zeros(3)}, "b has kind torch.float32 instead of torch.int64"),
        ({"c": {"nested": 1}}, "c has kind dict instead of torch.float32"),
        ({"c": None}, "missing our c"),
        ({"x": torch.zeros(1), "y": torch.zeros(1)}, "unexpected their x, unexpected y"),
        ({f"x{number}": torch.zeros(1) for number in range(12)}, "unexpected x0, .*unexpected x9 and 2 more"),
    ],
)
def test_names_shapes_and_kinds_against_a_model(change, message):
    found = {name: value for name, value in {**WANTED, **change}.items() if value is not None}
    called = {"c": "our c"} if "c" in change and change["c"] is None else {"x": "their x"}

    def check(**options):
        check_fit(kinds_of(WANTED), kinds_of(found), "f must fit", "mend it", called=called, **options)

    if message is None:
        check()
    else:
        with pytest.raises(UserError, match=rf"\Af must fit, but: {message}; mend it\Z"):
            check()
    if "a" in change:
        with pytest.raises(UserError):
            check(any_float=False)


def test_kinds_in_a_file_are_those_of_the_tensors(tmp_path):
    kinds = [torch.float64, torch.float16, torch.bfloat16, torch.float8_e5m2, torch.uint8, torch.bool, torch.int16]
    tensors = {str(kind): torch.zeros(2, 3).to(kind) for kind in kinds}
    save_tensors(tmp_path / "file", tensors, {"about": "this"})
    with opened_tensors(tmp_path / "file") as file:
        assert file.kinds() == kinds_of(tensors)
        assert file.metadata() == {"about": "this"}  # several keys are written in an order that differs
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("older", [False, True], ids=["library", "older library"])
def test_a_file_is_byte_for_byte_what_the_library_writes(tmp_path, monkeypatch, older):
    if older:
        monkeypatch.delattr("safetensors.TensorSpec")
    kinds = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.complex64]
    kinds += [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]
    tensors = {str(kind): torch.arange(6).reshape(2, 3).to(kind) for kind in kinds} | {"a number": torch.tensor(2.5)}
    for added in ({}, {"nothing": torch.zeros(0, 3)}):
        save_tensors(tmp_path / "file", {**tensors, **added}, {"about": "this"})
        save_file({**tensors, **added}, tmp_path / "theirs", {"about": "this"})
        assert (tmp_path / "file").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_modes_come_back_after_a_block_in_eval_mode():
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout())).train()
    model[1].eval()
    with suppress(RuntimeError), eval_mode(model):
        assert not any(module.training for module in model.modules())
        raise RuntimeError
    assert [module.training for module in model.modules()] == [True, True, False, False]
