"""The same samples counted twice are no spread over seeds, and real images are no samples (issue 11, its table)."""

import json
import shutil

import numpy as np
import pytest
from levelled_sets import LevelJudge, draw_classes, draw_flat
from PIL import Image

from var.errors import UserError
from var.evaluation.judging import judge
from var.evaluation.sets.samples import save_npz
from var.images import save_png
from var.sampling.record import Recipe
from var.sampling.work import Item

pytestmark = pytest.mark.filterwarnings("ignore::var.evaluation.RankDeficientWarning")


def said(reference, *samples, **options):
    return " ".join(judge(samples, reference, LevelJudge(), progress=False, **options).warnings)


def refused(reference, *samples, match, **options):
    with pytest.raises(UserError, match=match):
        said(reference, *samples, **options)


def reencode(source, target, form):
    target.mkdir()
    for path in source.iterdir():
        with Image.open(path) as picture:
            picture.save(target / f"x{path.stem}.{form}", **({"compress_level": 1} if form == "png" else {}))
    return target


class TestSets:
    def test_copies_of_a_recorded_set_share_its_seeds(self, tmp_path, reference):
        """`cp -r a b; var evaluate a b` said "2 generation seeds, sd 0.000"."""
        a = draw_flat(tmp_path / "a")
        shutil.copytree(a, tmp_path / "b")
        refused(reference, a, tmp_path / "b", match=r"seeds of its own, got 0 in .* \(40 such\); draw a set with other")
        for path in list((tmp_path / "b").iterdir())[1:]:
            path.unlink()  # one image of many
        draw_flat(tmp_path / "b", range(100, 150))
        refused(reference, a, tmp_path / "b", match=r"seeds of its own, got \d+ in .* \(1 such\)")

    def test_copies_without_records_share_their_files(self, tmp_path, reference):
        a = draw_flat(tmp_path / "a", recorded=False)
        shutil.copytree(a, tmp_path / "b")
        refused(reference, a, tmp_path / "b", match="each set must be another one, got .*b again in .*a")
        for number, path in enumerate(sorted((tmp_path / "b").iterdir())):
            path.rename(path.with_name(f"renamed-{number}.png"))
        refused(reference, a, tmp_path / "b", match=r"each set must be another one, got .* in .* (again|too)")
        draw_flat(tmp_path / "b", range(100, 150), recorded=False)
        refused(reference, a, tmp_path / "b", match="got 40 images of .*b in .*a too, of 40")

    @pytest.mark.parametrize("form", ["png", "bmp", "npz"])
    def test_the_same_pixels_in_other_files(self, tmp_path, reference, form):
        a = draw_flat(tmp_path / "a", recorded=False)
        b = tmp_path / f"b.{form}"
        save_npz(a, b) if form == "npz" else reencode(a, b, form)
        refused(reference, a, b, match="got 40 images of .*b.* in .*a too, of 40")

    def test_two_packed_sets(self, tmp_path, reference):
        save_npz(draw_flat(tmp_path / "a"), tmp_path / "a.npz")
        shutil.copy(tmp_path / "a.npz", tmp_path / "b.npz")
        refused(reference, tmp_path / "a.npz", tmp_path / "b.npz", match="each set must be another one")
        with np.load(tmp_path / "a.npz") as packed:
            np.savez_compressed(tmp_path / "b.npz", arr_0=packed["arr_0"][::-1])
        refused(reference, tmp_path / "a.npz", tmp_path / "b.npz", match="got 40 images")

    def test_one_place_under_two_names(self, tmp_path, reference):
        a = draw_classes(tmp_path / "a", {"3": 3, "7": 7})
        (tmp_path / "link").symlink_to(a)
        refused(reference, a, tmp_path / "link", match="the same path twice")
        refused(reference, a, a / "3", match="one inside the other")
        (tmp_path / "links").mkdir()
        for path in (a / "3").iterdir():
            (tmp_path / "links" / path.name).symlink_to(path)
        refused(reference, a, tmp_path / "links", match="seeds of its own")

    def test_sets_of_one_number(self, tmp_path, reference):
        for name in "ab":
            draw_flat(tmp_path / name, range(40) if name == "a" else range(100, 140), recorded=False)
            (tmp_path / name / "sample-set.json").write_text(json.dumps({"count": 40, "seed": 3, "settings": {}}))
        refused(reference, tmp_path / "a", tmp_path / "b", match="each set must be another one, got .*b again in")

    def test_an_image_twice_in_one_set(self, tmp_path, reference):
        a = draw_flat(tmp_path / "a")
        shutil.copy(a / "3.png", a / "99.png")
        refused(reference, a, match=r"must hold each image once, got seed 3 in .*3\.png and in .*99\.png")
        b = draw_flat(tmp_path / "b", recorded=False)
        shutil.copy(b / "3.png", b / "99.png")
        assert "Repeats: 1 of 41 images of" in said(reference, b)

    def test_a_generator_that_repeats_itself_is_no_copy(self, tmp_path, reference):
        for name, seeds in (("a", range(8)), ("b", range(8, 16))):
            collapsed(tmp_path / name, seeds)
        assert "Shared: 8 images of" in said(reference, tmp_path / "a", tmp_path / "b")

    def test_sets_of_their_own_are_fine(self, tmp_path, reference):
        a, b = draw_flat(tmp_path / "a"), draw_flat(tmp_path / "b", range(40, 80))
        assert "Shared" not in said(reference, a, b)
        plain = [draw_flat(tmp_path / f"{first}", range(first, first + 40), recorded=False) for first in (200, 300)]
        assert "Shared" not in said(reference, *plain)


def collapsed(root, seeds):
    """A set whose images all look the same, each with a seed of its own."""
    root.mkdir()
    for seed in seeds:
        text = Recipe({"fingerprint": "f"}, ["x"], {}).text(Item("", seed, 0))
        save_png(Image.new("L", (4, 4), 40), root / f"{seed}.png", text)


class TestRealImages:
    def test_training_and_test_images_must_differ(self, tmp_path, reference):
        a, train = draw_flat(tmp_path / "a"), draw_flat(tmp_path / "train", range(500, 540), recorded=False)
        refused(reference, a, train=train, test=train, match="test images must be others .* the same path twice")
        copy = reencode(train, tmp_path / "copy", "bmp")
        refused(reference, a, train=train, test=copy, match="must be others than the training images, got all 40")
        draw_flat(copy, range(600, 604), recorded=False)
        assert "Test images: 40 of 44 are training images too." in said(reference, a, train=train, test=copy)
        refused(reference, a, test=train, match="give both or neither")

    def test_samples_that_are_training_images(self, tmp_path, reference):
        train = draw_flat(tmp_path / "train", range(500, 540), recorded=False)
        a = reencode(train, tmp_path / "a", "bmp")
        draw_flat(a, range(10), recorded=False)
        assert "Copies: 40 of 50 samples in" in said(reference, a, train=train)

    def test_samples_that_are_the_reference(self, tmp_path, reference):
        assert "Same images: " in said(reference, tmp_path / "real")
        assert "Same images: " in said(reference, reencode(tmp_path / "real", tmp_path / "a", "bmp"))
        assert "Same images" not in said(reference, draw_flat(tmp_path / "b"))

    def test_images_of_another_size_are_refused_before_the_work(self, tmp_path, reference, monkeypatch):
        a = draw_flat(tmp_path / "a")
        (tmp_path / "large").mkdir()
        Image.new("L", (5, 5)).save(tmp_path / "large" / "0.png")
        monkeypatch.setattr("var.evaluation.judging.extract_samples", lambda *_, **__: pytest.fail("work was begun"))
        refused(reference, a, train=tmp_path / "large", match=r"the samples' shape \(1, 4, 4\) .* got \(1, 5, 5\)")
