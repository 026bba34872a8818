"""Folders that a hostile or clumsy hand made: one line each, at once and in little memory (F6, F9, F10, F14)."""

import io
import json
import os
import pickle
import resource
import time
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from tiny import tiny_diffusion_pipeline, tiny_pipeline
from tiny_models import one_line

from diffusion_baseline import DiffusionPipeline, UNet
from var import VAR, VQVAE, VARPipeline
from var.errors import UserError
from var.foreign.weights import opened_tensors, read_tensors

CLASSES = {"transformer": VAR, "vqvae": VQVAE, "unet": UNet}


pytestmark = pytest.mark.usefixtures("_untyped")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    tiny_pipeline().save_pretrained(folder)
    tiny_diffusion_pipeline().save_pretrained(folder / "diffusion")
    os.rename(folder / "diffusion" / "unet", folder / "unet")
    os.symlink(folder / "unet", folder / "diffusion" / "unet")
    return folder


@pytest.fixture
def bounded():
    """No more than seconds, and less than 1 GB more than before."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    assert time.process_time() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10**6


def changed(path, text):
    """Replace a file's text until the test is over."""

    class Change:
        def __enter__(self):
            self.before = path.read_bytes()
            path.write_text(text)

        def __exit__(self, *_):
            path.write_bytes(self.before)

    return Change()


SIZES = [
    *(("transformer", {name: value}) for name, value in {
        "width": 2_000_000_000, "depth": 100_000, "vocabulary": 10**12, "num_classes": 10**9, "code_width": 10**18,
        "mlp_ratio": 1e300, "heads": 0, "sides": [1, 2, 10**6],
    }.items()),
    ("transformer", {"depth": 10**12}),
    ("transformer", {"depth": 1_000_000}),
    ("transformer", {"width": 16_000_000, "heads": 1}),
    ("transformer", {"width": 10**30, "heads": 10**30}),
    ("transformer", {"mlp_ratio": -4}),
    ("transformer", {"sides": [1, 2, 10**300]}),
    ("transformer", {"sides": list(range(1, 100_000))}),
    *(("vqvae", {name: value}) for name, value in {
        "vocabulary": 10**12, "base_channels": 4 * 10**9, "channel_multipliers": [1] * 10**6, "residual_blocks": 10**9,
        "width": 10**12, "phi": 10**9, "in_channels": 10**12, "sides": list(range(1, 4000)),
    }.items()),
    ("vqvae", {"residual_blocks": 1_000_000}),
    ("vqvae", {"channel_multipliers": [1] * 4000}),
    ("vqvae", {"channel_multipliers": [1, 10**9]}),
    *(("unet", {name: value}) for name, value in {
        "num_classes": 10**12, "image_size": 4 * 10**12, "multipliers": [1] * 10**5, "residual_blocks": 10**8,
        "attention_levels": [0] * 10**5, "embedding_width": 10**12, "head_width": 10**9, "image_channels": 10**10,
    }.items()),
    ("unet", {"residual_blocks": 1_000_000}),
]  # fmt: skip


@pytest.mark.parametrize(("part", "change"), SIZES, ids=lambda value: str(value)[:40])
def test_sizes_are_compared_with_the_file_before_they_are_built(kept, bounded, part, change):
    path = kept / part / "config.json"
    with changed(path, json.dumps(json.loads(path.read_text()) | change)):
        with one_line(".+") as caught:
            CLASSES[part].from_pretrained(kept / part)
        assert str(kept / part) in str(caught.value)
        assert len(str(caught.value)) < 2500


def test_a_mask_that_no_weight_bounds_is_not_computed(kept, tmp_path, bounded):
    # A file of 4 MB that says a million positions: the mask of all pairs would take a terabyte.
    path = tmp_path / "config.json"
    config = json.loads((kept / "transformer" / "config.json").read_text())
    path.write_text(json.dumps(config | {"sides": [1000], "width": 1, "heads": 1, "depth": 1}))
    one = VAR(VAR.from_pretrained(kept / "transformer").config.__class__(
        sides=(2,), vocabulary=16, code_width=4, num_classes=5, width=1, heads=1, depth=1
    ))  # fmt: skip
    weights = one.state_dict() | {"start": torch.zeros(1, 10**6, 1), "position": torch.zeros(1, 10**6, 1)}
    save_file(weights, tmp_path / "model.safetensors")
    with one_line(".*but: VAR would compute [0-9]+ bytes of masks and the like from it, more than"):
        VAR.from_pretrained(tmp_path)


SETTINGS = [
    *({"num_timesteps": wrong} for wrong in ("1000", [1], 10**12, 10**30, True, 1.5, None, 0, -1)),
    *({"schedule": wrong} for wrong in (5, "x", None, ["cosine"])),
    *({"prediction": wrong} for wrong in ({}, "", 1)),
    *({"class_names": wrong} for wrong in (5, "abcde", [1, 2, 3, 4, 5], ["a"], {"a": 1}, [["a"]] * 5, [None] * 5)),
    {"unet": 1},
    {"self": 1},
    {"num_timestep": 10},
]


@pytest.mark.parametrize("change", SETTINGS)
def test_wrong_settings_of_a_pipeline_name_file_and_field(kept, bounded, change):
    path = kept / "diffusion" / "pipeline_index.json"
    values = json.loads(path.read_text())
    values["settings"] |= change
    with changed(path, json.dumps(values)), one_line(f"{path}: .*"):
        DiffusionPipeline.from_pretrained(kept / "diffusion")


TEXTS = [
    *("", "[]", "null", "5", "[" * 100_000, '{"a":' * 100_000, '{"x": NaN}', '{"x": 1e999}', '{"x": ' + "9" * 10_000),
    *('{"class": [1]}', '{"class": {}}', '{"class": "\\ud800\\u001b[2J"}', '{"class": "VAR", "class": "VAR"}', '"' * 9),
    *('{"class": "VARPipeline"}', '{"class": "VARPipeline", "parts": []}', '{"class": "VARPipeline", "parts": 5}'),
    '{"class": "VARPipeline", "parts": {"vqvae": ["VQVAE"], "transformer": {}}, "settings": {}}',
    '{"class": "VARPipeline", "parts": {"vqvae": "VQVAE", "transformer": "VAR"}, "settings": []}',
    '{"class": "VARPipeline", "parts": {"vqvae": "VQVAE", "transformer": "VAR"}, "settings": {"class_names": 5}}',
    '{"weight_map": 5}', '{"weight_map": {"a": 5}}', '{"weight_map": {"a": ["model.safetensors"]}}',
    '{"weight_map": {}}',
    '{"weight_map": {"a\\u001b": "/etc/passwd"}}', '{"weight_map": {"a": "model-99999-of-99999.safetensors"}}',
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:30])
@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (VARPipeline, "pipeline_index.json"),
        (VAR, "transformer/config.json"),
        (VAR, "transformer/model.safetensors.index.json"),
    ],
    ids=lambda value: str(value)[-12:],
)
def test_documents_of_a_wrong_form(kept, bounded, cls, name, text):
    path = kept / name
    if name.endswith("index.json") and cls is VAR:
        path.write_text("{}")
    with changed(path, text), one_line(".+") as caught:
        cls.from_pretrained(path.parent)
    if path.name == "model.safetensors.index.json":
        path.unlink()
    assert str(kept) in str(caught.value)
    assert str(caught.value).isprintable()


def pipe(path):
    os.mkfifo(path)


def endless(path):
    os.symlink("/dev/zero", path)


def folder(path):
    path.mkdir()


@pytest.mark.parametrize("make", [pipe, endless, folder])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model.safetensors.index.json"])
def test_only_regular_files_are_read(tmp_path, bounded, make, name):
    network = tiny_diffusion_pipeline().unet
    network.save_pretrained(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    make(tmp_path / name)
    with one_line(f".*{tmp_path / name}.*"):
        UNet.from_pretrained(tmp_path)
    make(tmp_path / "foreign.pth")
    with one_line(".*foreign.pth.*"):
        read_tensors(tmp_path / "foreign.pth")
    with one_line(".*foreign.pth.*"):
        VARPipeline.from_original(tmp_path / "foreign.pth", tmp_path / "foreign.pth")
    if name == "model.safetensors":
        with one_line(f"the output {tmp_path / name} must be a regular file or new, got .*; name another"):
            network.save_pretrained(tmp_path)


def zipped(change):
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(100.0)}, buffer)
    data = bytearray(buffer.getvalue())
    change(data)
    return bytes(data)


def encrypted(data):
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(signature)
        while start >= 0:
            data[start + offset] |= 1
            start = data.find(signature, start + 1)


def renamed(data):
    place = data.rfind(b"data.pkl")
    data[place : place + 8] = b"\xff\xfe" * 4


ARCHIVES = {
    "encrypted": zipped(encrypted),
    "renamed": zipped(renamed),
    "no end": zipped(lambda data: data.__delitem__(slice(-30, None))),
    "no pickle": zipped(lambda data: data.__setitem__(slice(60, 90), bytes(30))),
    "deep": pickle.dumps({"a": None}, protocol=2)[:2] + b"]" * 3000 + b"a" * 2999 + b".",
    "endless bytes": b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x10\x85R.",
    "stop": b"\x80\x02.",
    "memo": b"\x80\x02" + b"r\xff\xff\xff\x7f" * 10 + b".",
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_broken_pickles_and_archives(tmp_path, bounded, name):
    path = tmp_path / "weights.pth"
    path.write_bytes(ARCHIVES[name])
    with one_line(".*weights.pth.*"):
        read_tensors(path)


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        {"a": {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]}},
        {"a": 5},
        {"__metadata__": {"step": 5}},
    ],
)
def test_headers_that_lie(tmp_path, bounded, header):
    text = json.dumps(header).encode()
    (tmp_path / "x.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with one_line(".*x.safetensors.*"), opened_tensors(tmp_path / "x.safetensors") as file:
        file.load(next(iter(file.kinds()), "none"))


def test_names_of_tensors_are_shown_without_what_a_terminal_obeys(kept, tmp_path):
    save_file({"a\x1b[2J\nb": torch.ones(1)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((kept / "transformer" / "config.json").read_bytes())
    with pytest.raises(UserError) as caught:
        VAR.from_pretrained(tmp_path)
    assert str(caught.value).isprintable()
    with zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x\x1b[2J", b"0" * 99)
    with one_line(r".*x\\x1b\[2J in it is compressed; save it again") as caught:
        read_tensors(tmp_path / "w.pth")
