import json

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from var.errors import UserError
from var.evaluation.sets.class_labels import class_labels
from var.evaluation.sets.samples import MANIFEST, open_samples, save_npz


def draw(path, pixels, label=None):
    text = PngInfo()
    if label is not None:
        text.add_itxt("next-scale", json.dumps({"class_label": label}))
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path, pnginfo=text)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, pixels):
    for seed, image in enumerate(pixels):
        draw(tmp_path / "set" / f"{seed}.png", image, label=seed // 4)
    return tmp_path / "set"


def everything(samples):
    return torch.cat(list(samples.batches()))


def test_files_are_ordered_by_seed_and_know_their_class(folder, pixels):
    samples = open_samples(folder)
    assert (samples.count, samples.shape) == (12, (3, 5, 4))
    assert samples.labels is not None
    assert samples.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert (everything(samples).permute(0, 2, 3, 1).numpy() == pixels).all()


def test_an_npz_is_the_same_set_in_adms_layout(folder, pixels, tmp_path):
    path = tmp_path / "set.npz"
    save_npz(folder, path)
    with np.load(path) as archive:
        assert (archive["arr_0"] == pixels).all()
        assert archive["arr_1"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    packed = open_samples(path)
    assert (everything(packed) == everything(open_samples(folder))).all()
    first = path.read_bytes()
    save_npz(path, path)
    assert path.read_bytes() == first
    np.savez_compressed(tmp_path / "other.npz", arr_0=pixels)
    other = open_samples(tmp_path / "other.npz")
    assert other.labels is None
    assert (everything(other) == everything(packed)).all()


def test_class_folders_are_no_labels_until_somebody_knows_the_classes(tmp_path, pixels):
    for index, name in enumerate(("b", "a", "a")):
        draw(tmp_path / name / f"{index}.png", pixels[index, ..., 0])
    samples = open_samples(tmp_path)
    assert samples.shape == (1, 5, 4)
    assert (samples.labels, samples.folders) == (None, ("a", "a", "b"))
    assert class_labels(samples, 3, ["b", "c", "a"])[0].tolist() == [2, 2, 0]
    assert everything(samples)[2, 0].tolist() == pixels[0, ..., 0].tolist()


def test_the_fingerprint_sees_bytes_and_order(folder, pixels):
    before = open_samples(folder).fingerprint()
    assert before == open_samples(folder).fingerprint()
    (folder / "0.png").rename(folder / "12.png")
    assert open_samples(folder).fingerprint() != before
    (folder / "12.png").rename(folder / "0.png")
    draw(folder / "0.png", pixels[1], label=0)
    assert open_samples(folder).fingerprint() != before


class TestBadSets:
    def test_an_unfinished_set(self, folder):
        (folder / MANIFEST).write_text(json.dumps({"count": 12}))
        assert open_samples(folder).manifest == {"count": 12}
        (folder / "3.png").unlink()
        with pytest.raises(UserError, match="must hold the 12 images of its set, got 11; finish"):
            open_samples(folder)

    def test_an_odd_size_or_kind_has_a_path(self, folder, pixels):
        draw(folder / "7.png", pixels[7, :4])
        with pytest.raises(UserError, match=r"7\.png must be 5x4 \(height x width\) like the first image, got 4x4"):
            everything(open_samples(folder))
        draw(folder / "7.png", pixels[7, ..., 0])
        with pytest.raises(UserError, match=r"7\.png must be RGB .* got mode L"):
            everything(open_samples(folder))

    @pytest.mark.parametrize("size", [0, 20, 90])
    def test_a_corrupt_image_has_a_path(self, folder, size):
        whole = (folder / "9.png").read_bytes()
        (folder / "9.png").write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"9\.png must be a whole png"):
            everything(open_samples(folder))

    def test_what_is_no_set(self, tmp_path, pixels):
        with pytest.raises(UserError, match=r"there is no .*nothing"):
            open_samples(tmp_path / "nothing")
        with pytest.raises(UserError, match="no images in"):
            open_samples(tmp_path)
        path = tmp_path / "x.npz"
        for content, match in (
            ({"mu": np.zeros(2)}, "must hold images as arr_0"),
            ({"arr_0": pixels.astype(np.float32)}, r"arr_0 must be uint8 .*, got float32 \(12, 5, 4, 3\)"),
            ({"arr_0": pixels.transpose(0, 3, 1, 2)}, r"got uint8 \(12, 3, 5, 4\)"),
            ({"arr_0": pixels, "arr_1": np.zeros(3, int)}, "arr_1 must hold 12 integers"),
            ({"arr_0": np.asfortranarray(pixels)}, "in C order"),
        ):
            np.savez(path, **content)
            with pytest.raises(UserError, match=match):
                open_samples(path)
        np.savez(path, arr_0=pixels)
        path.write_bytes(path.read_bytes()[:300])
        with pytest.raises(UserError, match="readable npz archive"):
            open_samples(path)
        draw(tmp_path / "0.png", pixels[0])
        draw(tmp_path / "class" / "0.png", pixels[0])
        with pytest.raises(UserError, match="images or class folders, got both"):
            open_samples(tmp_path)
