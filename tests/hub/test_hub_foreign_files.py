"""Weight files that others wrote: read without running anything, or refused in one line."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import Malicious, one_line
from torch import nn

from var.foreign.weights import read_tensors

NESTED = {
    "epoch": 3,
    "args": {"name": "x", "lr": 1e-4, "sides": [1, 2], "none": None},
    "trainer": OrderedDict(a=torch.arange(6.0).view(2, 3), b=nn.Parameter(torch.ones(2)), c=torch.ones(3).bfloat16()),
    "list": [torch.ones(1)],
}


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_comes_as_it_was(tmp_path, legacy):
    path = tmp_path / "checkpoint.pth"
    torch.save(NESTED, path, _use_new_zipfile_serialization=not legacy)
    found = read_tensors(path)
    assert list(found) == list(NESTED)
    assert found["args"] == NESTED["args"]
    for name, tensor in NESTED["trainer"].items():
        assert torch.equal(found["trainer"][name], tensor)
        assert found["trainer"][name].dtype == tensor.dtype
    found["trainer"]["a"].zero_()  # it is a copy or a private map: the file stays
    assert torch.equal(read_tensors(path)["trainer"]["a"], NESTED["trainer"]["a"])


def test_safetensors_may_have_any_name_but_pickles_not_that_one(tmp_path):
    for count in range(1, 65):  # headers of all lengths modulo 256, of which some begin like a pickle
        save_file({"a" * count: torch.ones(2)}, tmp_path / "weights.pth")
        assert torch.equal(read_tensors(tmp_path / "weights.pth")["a" * count], torch.ones(2))
    torch.save({"a": torch.ones(2)}, tmp_path / "weights.safetensors")
    with one_line(".*weights.safetensors must be a safetensors file, but: got a pickle, which could run code; convert"):
        read_tensors(tmp_path / "weights.safetensors")


def test_views_and_tied_tensors_are_whole(tmp_path):
    base = torch.arange(12.0)
    torch.save({"a": base[2:6], "b": base.view(3, 4).T, "c": base}, tmp_path / "w.pth")
    found = read_tensors(str(tmp_path / "w.pth"))
    assert torch.equal(found["a"], base[2:6])
    assert torch.equal(found["b"], base.view(3, 4).T)


def saved(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def zip_bomb():
    buffer = io.BytesIO()
    real = zipfile.ZipFile(io.BytesIO(saved({"a": torch.zeros(10**6)})))
    with real, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for record in real.infolist():
            packed.writestr(record.filename, real.read(record))
    return buffer.getvalue()


WHOLE = saved({"a": torch.ones(1000)})
BAD = {
    "page": (
        b"\n<!DOCTYPE html><html></html>",
        "must hold data, but: got a web page of 29 bytes; download the file itself",
    ),
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 9\n",
        "must hold data, but: got a Git-LFS pointer of 65 bytes; run `git lfs pull` in its folder, or download",
    ),
    "empty": (b"", "must hold data, but: it is empty; download it again"),
    "text": (
        b'{"error": "Invalid credentials"}',
        "must be a safetensors or torch file, but: it begins with b'{\"error\"'; ",
    ),
    "cut": (WHOLE[: len(WHOLE) // 2], "must be a whole file of weights, but: .*; download or save it again"),
    "cut-legacy": (saved({"a": torch.ones(9)}, _use_new_zipfile_serialization=False)[:-20], "must be a whole file"),
    "zip": (b"PK\x03\x04" + bytes(200), "must be a whole file of weights, but"),
    "bomb": (zip_bomb(), "must be a file that torch.save wrote, but .* in it is compressed; save it again"),
    "giant": (
        saved({"x": {"w": torch.zeros(1).expand(10**6, 10**6)}}),
        r": x.w must be stored .*\(1000000, 1000000\) is",
    ),
    "meta": (saved({"w": torch.empty(10**6, 10**6, device="meta")}), ": w must be stored element by element"),
    "sparse": (saved({"w": torch.eye(2).to_sparse()}), ": w must be stored element by element, but shape"),
    "list": (saved([torch.ones(1)]), "must hold tensors by name, got list; save a state dict"),
    "tensor": (saved(torch.ones(1)), "must hold tensors by name, got Tensor; save a state dict"),
    "module": (
        saved(nn.Linear(2, 2)),
        "must hold tensors only, but it asks to run torch.nn.modules.linear.Linear, which",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_file_of_weights(tmp_path, kind):
    data, message = BAD[kind]
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    with one_line(f"{path}:? ?{message}"):
        read_tensors(path)


def test_a_giant_tensor_takes_a_few_bytes_only():
    assert len(BAD["giant"][0]) < 2000


@pytest.mark.parametrize("legacy", [None, True, False])
def test_code_in_a_pickle_is_named_and_not_run(tmp_path, legacy):
    path, proof = tmp_path / "weights.pth", tmp_path / "executed"
    value = {"a": torch.ones(1), "b": Malicious(proof)}
    if legacy is None:
        path.write_bytes(pickle.dumps({"b": Malicious(proof)}, protocol=2))
    else:
        torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    with one_line(f"{path} must hold tensors only, but it asks to run posix.mkdir, which was not done; get a .safet"):
        read_tensors(path)
    assert not proof.exists()


def test_a_pickle_of_the_oldest_kind_is_not_run(tmp_path):
    path, proof = tmp_path / "weights.pth", tmp_path / "executed"
    path.write_bytes(pickle.dumps(Malicious(proof), protocol=0))
    with one_line(f"{path} must be a safetensors or torch file, but: it begins with b'cposix"):
        read_tensors(path)
    assert not proof.exists()


def test_files_that_are_not_there(tmp_path):
    with one_line(f"a file of weights must exist, but there is no {tmp_path}/absent.pth; check the spelling"):
        read_tensors(tmp_path / "absent.pth")
    with one_line(f"weights must be a file, got the folder {tmp_path}; name the file in it"):
        read_tensors(tmp_path)
    os.symlink(tmp_path / "gone", tmp_path / "link.pth")
    with one_line("a file of weights must exist, but there is no .*link.pth"):
        read_tensors(tmp_path / "link.pth")
