"""The evaluation of a model in training."""

import pytest
import torch
from PIL import Image
from torch import nn

from var.conditions import Condition
from var.data import ArrayData, WithVectors
from var.runs.evaluation import (
    GeneratorJudge,
    LossJudge,
    ReconstructionJudge,
    data_name,
    judge_config,
    save_pairs,
)
from var.runs.held_out import held_out
from var.runs.settings import EvaluationSettings
from var.training.distributed import Processes

SETTINGS = EvaluationSettings(every=1, samples=70, grid=9, judge_steps=2)


def stripes(count=80):
    """Two classes of 8x8 images: black left halves, black right halves."""
    images = torch.full((count, 1, 8, 8), -1.0)
    labels = torch.arange(count) % 2
    images[labels == 0, :, :, 4:] = 1
    images[labels == 1, :, :, :4] = 1
    images += 0.01 * torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    return ArrayData(images.clamp(-1, 1), labels, classes=["left", "right"])


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judge")
    return GeneratorJudge.of(stripes(), SETTINGS, folder, name="stripes", processes=Processes("cpu"), progress=False)


def test_samples_like_the_data_are_nearer_than_noise(judge, tmp_path):
    data = stripes()
    seen = []

    def right(labels, seeds):
        seen.append((labels, seeds))
        return torch.stack([data.load(2 * (seed % 40) + label) for label, seed in zip(labels, seeds, strict=True)])

    def noise(labels, seeds):
        return torch.rand(len(labels), 1, 8, 8, generator=torch.Generator().manual_seed(seeds[0])) * 2 - 1

    good, bad = judge.scores(right, tmp_path / "a.png"), judge.scores(noise, tmp_path / "b.png")
    assert good[judge.best] < 0.1 * bad[judge.best]
    assert judge.best == "fd_stripes"
    # The same labels and seeds every time, in parts of at most 50.
    assert [len(labels) for labels, _ in seen] == [50, 20]
    assert seen[0][0] == [0, 1] * 25
    assert seen[1][1] == list(range(50, 70))
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (3 * 65 + 1, 3 * 65 + 1)


def test_samples_are_of_what_the_data_show_where_that_is_more_than_classes(tmp_path):
    """Else of all classes in turn, as runs of before were judged; only these are compared with those that go on."""
    data, settings = stripes(), EvaluationSettings(every=1, grid=9, judge_steps=0)
    vectors = WithVectors(data, torch.zeros(len(data), 2))
    for shown, wanted in ((None, list), (data, list), (vectors, Condition)):
        seen = []

        def draw(shown, seeds, seen=seen):
            seen.append(shown)
            return torch.zeros(len(seeds), 1, 8, 8)

        how = {"name": "stripes", "processes": Processes("cpu"), "progress": False}
        GeneratorJudge.of(data, settings, tmp_path, shown=shown, **how).scores(draw, tmp_path / "a.png")
        assert isinstance(seen[0], wanted)


def test_the_judge_is_kept(judge, tmp_path):
    first = GeneratorJudge.of(stripes(), SETTINGS, tmp_path, name="stripes", processes=Processes("cpu"), progress=False)
    again = GeneratorJudge.of(stripes(), SETTINGS, tmp_path, name="other", processes=Processes("cpu"), progress=False)
    assert first.judge.digest == again.judge.digest == judge.judge.digest


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", b"x" * 300),
        ("model.safetensors", None),
        ("config.json", b"[" * 100_000),
        ("config.json", b'{"class": 5}'),
        ("config.json", None),
    ],
)
def test_a_damaged_judge_is_set_aside_and_trained_again(judge, tmp_path, caplog, file, content):
    """F5: a file of the run outside the damage rule."""
    options = {"name": "stripes", "processes": Processes("cpu"), "progress": False}
    GeneratorJudge.of(stripes(), SETTINGS, tmp_path / "judge", **options)
    path = tmp_path / "judge" / file
    path.unlink() if content is None else path.write_bytes(content)
    again = GeneratorJudge.of(stripes(), SETTINGS, tmp_path / "judge", **options)
    assert again.judge.digest == judge.judge.digest
    assert "judge.damaged, and the judge is trained again" in caplog.text
    assert (tmp_path / "judge.damaged").is_dir()


def test_data_without_classes_are_shown_and_not_judged(tmp_path):
    data = ArrayData(torch.zeros(4, 1, 8, 8), [0] * 4, classes=["unlabelled"])
    judge = GeneratorJudge.of(data, SETTINGS, tmp_path / "judge", name="x", processes=Processes("cpu"), progress=False)
    assert judge.best is None
    assert judge.scores(lambda labels, seeds: torch.zeros(len(labels), 1, 8, 8), tmp_path / "a.png") == {}
    assert (tmp_path / "a.png").exists()
    assert not (tmp_path / "judge").exists()


def test_reconstructions_are_judged_by_their_error(tmp_path):
    data = stripes()
    judge = ReconstructionJudge.of(data, SETTINGS)
    scores = judge.scores(lambda images: images * 0.9, tmp_path / "a.png")
    assert scores["squared_error"] == pytest.approx((0.1 * judge.images).square().mean().item(), rel=1e-4)
    assert 25 < scores["psnr"] < 27  # an error of 0.1 in a range of 2


def test_pairs_stand_above_each_other(tmp_path):
    images = torch.linspace(-1, 1, 10)[:, None, None, None].expand(10, 1, 64, 64)
    save_pairs(images, images, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (3 * 65 + 1, 6 * 65 + 1)
        assert picture.getpixel((33, 33)) == picture.getpixel((33, 98))
        assert picture.getpixel((33, 33)) != picture.getpixel((98, 33))


def test_the_loss_is_that_of_the_same_images_and_noise():
    class Task:
        model = nn.Linear(1, 1)

        def loss(self, model, batch, generator):
            return batch.images.mean() + torch.rand((), generator=generator) + len(batch.labels), {}

    judge = LossJudge.of(stripes(), EvaluationSettings(samples=60))
    first = judge.scores(Task(), Task.model)
    assert first == judge.scores(Task(), Task.model)
    assert 0 < first["evaluation_loss"] - (50 * 50 + 10 * 10) / 60 < 1.1


def test_held_out_images_are_found_where_there_are_some(tmp_path):
    from var.data import digits

    assert len(held_out("digits", digits("train"))) == 297
    data = stripes()
    assert held_out(str(tmp_path), data) is data


@pytest.mark.parametrize(("side", "last"), [(8, 4), (32, 4), (64, 4), (256, 4)])
def test_the_classifier_fits_images_of_any_size(side, last):
    data = ArrayData(torch.zeros(2, 3, side, side), [0, 1])
    config = judge_config(data, "x")
    assert (config.height, config.channels, config.num_classes) == (side, 3, 2)
    for stride in config.strides:
        side = -(-side // stride)
    assert side == last


def test_data_are_called_by_their_folder():
    assert data_name("/a/my photos!/") == "my-photos"
    assert data_name("shapes") == "shapes"
