"""Which images a run is judged by: held-out ones that can be used, or training images, and then it is said."""

import os
import shutil
import warnings

import pytest
import torch
from small_pictures import picture, png, shard
from tiny_text import LetterEncoder

from var.cli import main
from var.data import ArrayData, open_data
from var.data.base import conditions_at
from var.data.splits import MissingSplitError
from var.data.texts import with_texts
from var.errors import UserError
from var.runs.held_out import held_out

CLASSES = ("cat", "dog", "emu")


@pytest.fixture
def root(tmp_path):
    for split in ("train", "val"):
        for place, name in enumerate(CLASSES):
            for number in range(2):
                picture(tmp_path / "data" / split / name / f"{number}.png", 40 * place + len(split))
    return tmp_path / "data"


def judged(root, **options):
    return held_out(str(root), open_data(root, size=4, **options), **options)


def test_images_of_the_split_are_judged(root):
    for name in ("val", "VAL", "valid", "validation", "dev", "eval", "holdout", "Held-out", "test", "Testing"):
        os.rename(next(path for path in root.iterdir() if path.name != "train"), root / name)
        assert judged(root).describe(0) == f"{root}/{name}/cat/0.png"
    for name in ("__MACOSX", "@eaDir", "lost+found"):
        (root / name).mkdir()
        (root / "Testing" / name).mkdir()
    assert len(judged(root)) == 6


def test_a_copy_of_the_training_images_is_not_held_out(root):
    """A sister of the row "held-out data replaced by training data": `cp -r train val`."""
    shutil.rmtree(root / "val")
    shutil.copytree(root / "train", root / "val")
    with pytest.raises(UserError, match="must be others than the training images, got the same ones"):
        judged(root)
    picture(root / "val" / "cat" / "1.png", 3)  # of the same size as the other
    assert len(judged(root)) == 6


def test_where_there_is_no_split_the_training_images_are(root, tmp_path):
    shutil.rmtree(root / "val")
    for source in (root, root / "train"):
        data = open_data(source, size=4)
        assert held_out(str(source), data) is data
    data = open_data(shard(tmp_path / "0.tar", [("a.png", png())]), size=4)
    assert held_out(str(tmp_path / "0.tar"), data) is data
    (tmp_path / "links").mkdir()
    assert held_out(str(tmp_path / "*.tar"), data) is data


SPOILT = {
    "an empty class": lambda val: (val / "fox").mkdir(),
    "an emptied class": lambda val: [path.unlink() for path in (val / "dog").iterdir()],
    "a stray class": lambda val: picture(val / "fox" / "0.png"),
    "stray images": lambda val: picture(val / "0.png"),
    "no classes": lambda val: [shutil.rmtree(val / name) for name in CLASSES] + [picture(val / "0.png")],
    "nothing": lambda val: [shutil.rmtree(val / name) for name in CLASSES],
    "a broken link": lambda val: (val / "dog" / "9.png").symlink_to("nowhere"),
    "a pipe": lambda val: os.mkfifo(val / "dog" / "9.png"),
    "deeper images": lambda val: picture(val / "dog" / "more" / "0.png"),
    "a name of no text": lambda val: os.mkdir(os.path.join(os.fsencode(val), b"\xff")),
    "shards": lambda val: (shutil.rmtree(val), shard(val / "0.tar", [("a.png", png()), ("a.cls", "0")])),
    "training images": lambda val: (shutil.rmtree(val), val.symlink_to(val.parent / "train")),
    "a file": lambda val: (shutil.rmtree(val), val.write_text("")) and picture(val.parent / "test" / "fox" / "0.png"),
    "two splits": lambda val: picture(val.parent / "validation" / "cat" / "0.png"),
}  # fmt: skip


@pytest.mark.parametrize("fault", SPOILT)
def test_a_split_that_cannot_be_used_is_never_replaced_by_training_images(root, fault):
    """The row "held-out data replaced by training data"."""
    data = open_data(root, size=4)
    SPOILT[fault](root / "val")
    with pytest.raises(UserError, match=r"held-out images must be usable, but: .* \(evaluation.every=0") as caught:
        held_out(str(root), data)
    assert str(caught.value).isprintable()


def test_a_broken_image_stops_or_is_passed_over_as_in_training(root):
    (root / "val" / "dog" / "0.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"val/dog/0\.png must be a whole"):
        judged(root).load(2)
    assert judged(root, on_bad_image="skip").load(2).shape == (3, 4, 4)


def test_some_of_the_classes_in_another_order_keep_their_names(tmp_path):
    """Shards without names count their classes alone: 0 and 1 of three are no reason to judge training images."""
    for split, labels in (("train", "012"), ("val", "10")):
        members = [(f"{n}.{kind}", png(40 * int(n)) if kind == "png" else n) for n in labels for kind in ("png", "cls")]
        shard(tmp_path / split / "0.tar", members)
    data = open_data(tmp_path, size=4)
    found = held_out(str(tmp_path), data)
    assert (data.classes, found.classes, found.labels.tolist()) == (("0", "1", "2"), ("0", "1", "2"), [1, 0])
    (tmp_path / "train" / "classes.txt").write_text("cat\ndog\nemu\n")
    (tmp_path / "val" / "classes.txt").write_text("dog\nemu\ncat\n")
    found = held_out(str(tmp_path), open_data(tmp_path, size=4))
    assert (found.classes, found.labels.tolist()) == (CLASSES, [2, 1])
    assert conditions_at(found, torch.tensor([1, 0])).labels.tolist() == [1, 2]
    assert [int((found.load(index)[0, 0, 0] + 1) * 127.5 + 0.5) for index in (0, 1)] == [40, 0]
    (tmp_path / "val" / "classes.txt").write_text("dog\nfox\n")
    with pytest.raises(UserError, match="must have the classes of the training images, cat, dog, emu, got fox; rename"):
        held_out(str(tmp_path), open_data(tmp_path, size=4))


def test_captions_are_read_where_classes_are_missing_and_bad_images_skipped(tmp_path):
    for split, labels in (("train", "012"), ("val", "10")):
        kinds = ("png", "cls", "txt")
        members = [(f"{n}.{kind}", png(40 * int(n)) if kind == "png" else n) for n in labels for kind in kinds]
        shard(tmp_path / split / "0.tar", members)
    how = {"on_bad_image": "skip", "captions": True}
    shown = with_texts(held_out(str(tmp_path), open_data(tmp_path, size=4, **how), **how), LetterEncoder(6))
    assert (shown.labels.tolist(), list(shown.captions)) == ([1, 0], ["1", "0"])
    assert conditions_at(shown, torch.tensor([0, 1])).labels.tolist() == [1, 0]


def test_splits_of_the_library_datasets(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import datasets

    def part(labels, names):
        kind = datasets.ClassLabel(names=names)
        features = datasets.Features({"image": datasets.Image(), "label": kind})
        cells = [{"bytes": png(), "path": None}] * len(labels)
        return datasets.Dataset.from_dict({"image": cells, "label": labels}, features=features)

    train = part([0, 1, 2], list(CLASSES))

    def found(name, **parts):
        (datasets.DatasetDict(train=train, **parts) if parts else train).save_to_disk(tmp_path / name)
        source = f"hf:{tmp_path / name}"
        return held_out(source, data := open_data(source, size=4)), data

    alone, data = found("alone")
    assert alone is data  # before, its training images were taken for a split of their own
    with pytest.raises(MissingSplitError):
        open_data(f"hf:{tmp_path / 'alone'}", size=4, split="test")
    assert found("turned", validation=part([0, 1], ["emu", "cat"]))[0].labels.tolist() == [2, 0]
    for name, other in (("others", part([0], ["fox"])), ("unlabelled", part([-1], list(CLASSES)))):
        with pytest.raises(UserError, match="held-out images must be usable, but: "):
            found(name, test=other)


def test_a_named_data_set_and_none():
    assert held_out("digits", open_data("digits")).describe(0) == "digits[0]"
    assert len(held_out("digits", open_data("digits"))) == 297
    with pytest.raises(UserError, match="held-out images must be usable"):
        held_out("", ArrayData(torch.zeros(2, 1, 4, 4), [0, 1]))


# From the command line


def train(source, output, *options):
    settings = ["vqvae.in_channels=3", "evaluation.every=1", "evaluation.samples=2", "evaluation.grid=1", *options]
    settings = [part for setting in settings if "=" in setting for part in ("--set", setting)]
    flags = [option for option in options if "=" not in option]
    return main(
        ["train", "vqvae", str(source), "--preset", "digits", "--output", str(output), "--quiet", *settings, *flags]
    )


def test_the_plan_and_the_run_say_which_images_are_judged(root, tmp_path, capsys):
    small = (
        "vqvae.base_channels=8",
        "vqvae.norm_groups=4",
        "training.steps=1",
        "training.batch_size=2",
        "--device",
        "cpu",
    )
    assert train(root, tmp_path / "run", "--plan") == 0
    line = "evaluated on 6 images of the held-out split, which are not trained on"
    assert line in capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    assert train(root / "train", tmp_path / "run", *small) == 0
    out = capsys.readouterr().out.splitlines()
    assert "evaluated on training images: the data have no split 'val' or 'test'" in out
    assert train(root, tmp_path / "two", "evaluation.every=0", "--plan") == 0
    assert "evaluated on" not in capsys.readouterr().out


def test_a_split_that_cannot_be_used_ends_the_run_before_it_begins(root, tmp_path, capsys):
    SPOILT["an empty class"](root / "val")
    for options in ((), ("--plan",)):
        assert train(root, tmp_path / "run", *options) == 2
        message = capsys.readouterr().err
        assert f"held-out images must be usable, but: {root}/val/fox must be one of the 3 classes" in message
        assert message.count("\n") == 1
        assert not (tmp_path / "run" / "run.yaml").exists()
    assert train(root, tmp_path / "run", "--plan", "evaluation.every=0") == 0
