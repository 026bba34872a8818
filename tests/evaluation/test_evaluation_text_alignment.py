"""Words: what is asked for is what is judged, by networks that learn from real images alone."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from var.data import ArrayData, open_data
from var.data.named.shapes import ShapesData
from var.errors import UserError
from var.evaluation import Reference, TextJudge, evaluate
from var.evaluation import text_judging as module
from var.evaluation.features.attributes import train_attributes
from var.evaluation.judging import judge as evaluate_files
from var.evaluation.metrics.text_alignment import attributes_as_asked, retrieval, text_alignment
from var.evaluation.sets.reference_statistics import build_statistics
from var.evaluation.text_judging import TextEvidence
from var.images import to_uint8
from var.sampling.record import KEY, record_text


def test_the_share_that_is_as_asked_is_counted():
    found = {"shape": ["circle", "cross", "cross"], "colour": ["red", "red", "blue"]}
    asked = [{"shape": "circle", "colour": "red"}, {"shape": "square", "colour": "red"}, {"colour": "blue"}]
    right = attributes_as_asked(found, asked)
    assert {name: each.tolist() for name, each in right.items()} == {
        "shape": [True, False, True],  # nothing was asked of the last
        "colour": [True, True, True],
    }
    assert text_alignment(right, ("shape", "colour")) == pytest.approx(2 / 3)
    assert text_alignment(right, ("colour",)) == 1
    assert text_alignment(right, ("colour", "ground")) is None
    with pytest.raises(UserError, match="shape must be found for each of 2 prompts, got 3"):
        attributes_as_asked(found, asked[:2])


def test_retrieval_has_its_closed_forms():
    generator = torch.Generator().manual_seed(0)
    captions = torch.randn(64, 16, generator=generator, dtype=torch.float64)
    own = torch.arange(64)
    assert retrieval(captions, captions, own) == 1
    assert retrieval(3 * captions[:8], captions, own[:8], among=2) == 1
    assert retrieval(-captions, captions, own) == 0
    strangers = torch.randn(2000, 16, generator=generator, dtype=torch.float64)
    assert retrieval(strangers, captions, torch.arange(2000) % 64) == pytest.approx(1 / 32, abs=0.012)
    assert retrieval(captions[:31], captions[:31], own[:31]) is None


def test_retrieval_is_the_mean_over_all_draws_of_other_captions():
    """Among 2 of 4 captions: the share of the other three that are less alike."""
    captions = torch.tensor([[1.0, 0], [0.8, 0.6], [0, 1], [-1, 0]], dtype=torch.float64)
    image, own = torch.tensor([[1.0, 0.1]], dtype=torch.float64), torch.tensor([1])
    assert retrieval(image, captions, own, among=2) == pytest.approx(2 / 3)
    assert retrieval(image, captions, own, among=3) == pytest.approx(math.comb(2, 2) / math.comb(3, 2))
    assert retrieval(image, captions, own, among=4) == 0


def encode(texts):
    """Which words of the shapes are in each text."""
    words = ("red", "green", "blue", "circle", "square", "triangle", "cross", "small", "large", "dark", "light", "grey")
    return torch.tensor([[float(word in text) for word in words] for text in texts])


@pytest.fixture(scope="module")
def drawn():
    return ShapesData({"train": 480}, 8)


@pytest.fixture(scope="module")
def judge(drawn):
    with pytest.MonkeyPatch.context() as patch:
        for name, steps in (("train_attributes", 60), ("train_image_text", 60)):
            briefly = partial(getattr(module, name), steps=steps, batch_size=48)
            patch.setattr(module, name, briefly)
        return TextJudge.trained(drawn, encode, device="cpu", progress=False)


def test_the_networks_read_real_images(judge):
    test = ShapesData({"test": 240}, 8)
    found = judge.of_real(test)
    assert text_alignment(found.right, ("colour",)) > 0.9  # by chance 1/3
    assert text_alignment(found.right, ("shape", "colour")) > 0.3  # by chance 1/12
    assert found.retrieval > 0.2  # by chance 1/32
    images, captions = to_uint8(test.load_many(torch.arange(240))), list(test.captions)
    asked_for_another_colour = judge.judge(images, captions[4:] + captions[:4])
    assert text_alignment(asked_for_another_colour.right, ("colour",)) < 0.1
    assert asked_for_another_colour.retrieval < 0.05


@pytest.mark.filterwarnings("ignore::var.evaluation.RankDeficientWarning")
def test_they_are_scores_among_others(judge, drawn, extractor):
    images, captions = to_uint8(drawn.load_many(torch.arange(60))), drawn.captions[:60]
    reference = Reference.from_images(images, extractor)
    text = judge.judge([images[:20], images[20:]], captions)
    scores = evaluate(images, reference, extractor, text=text)
    assert scores.text_alignment == text_alignment(text.right, ("shape", "colour", "ground"))
    assert scores.text_alignment_size <= scores.text_alignment
    assert scores.retrieval == text.retrieval
    assert evaluate(images, reference, extractor).text_alignment is None
    other_words = judge.judge(images, [f"image {number}" for number in range(60)])
    assert other_words.right is None
    with pytest.raises(UserError, match="got 3 prompts for 60 samples"):
        judge.judge(images, ["a"] * 3)


def test_the_seed_decides_everything():
    data = ShapesData({"train": 96}, 8)
    torch.manual_seed(5)  # the global stream has no say
    one, again, other = (
        train_attributes(data, steps=2, batch_size=16, seed=seed, device="cpu", progress=False) for seed in (0, 0, 1)
    )
    assert one.digest == again.digest != other.digest
    with pytest.raises(UserError, match="judges images"):
        one.read(torch.zeros(1, 3, 9, 9, dtype=torch.uint8))


def test_data_must_tell_their_words():
    plain = ArrayData(torch.zeros(4, 1, 8, 8), [0, 1, 0, 1])
    with pytest.raises(UserError, match="data that tell the attributes"):
        train_attributes(plain)
    with pytest.raises(UserError, match=r"must have captions, got none in ArrayData; write NAME\.txt"):
        TextJudge.trained(plain, encode)
    assert open_data("shapes", split="test").words_in("a castle") is None


def test_the_words_beside_images_of_a_folder_are_read(judge, drawn, tmp_path, monkeypatch):
    for place, image in enumerate(to_uint8(drawn.load_many(torch.arange(8))).permute(0, 2, 3, 1).numpy()):
        file = tmp_path / ("train" if place < 4 else "test") / f"{place}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(file)
        file.with_suffix(".txt").write_text(drawn.captions[place])
    learnt = []
    monkeypatch.setattr(module, "open_encoder", lambda name, device: name)
    monkeypatch.setattr(TextJudge, "trained", lambda data, *_, **__: (learnt.append(list(data.captions)), judge)[1])
    found = TextJudge.opened(str(tmp_path), (3, 8, 8), device="cpu", progress=False)
    assert learnt == [drawn.captions[:4]]
    assert len(found.worth.right["colour"]) == 4


def test_real_images_are_looked_at_all_over_the_data(judge, monkeypatch):
    data, asked, found = ShapesData({"test": 240}, 8), [], TextEvidence(right=None, retrieval=None)
    monkeypatch.setattr(TextJudge, "judge", lambda self, *what: (asked.append(what), found)[1])
    assert judge.of_real(data, 3) is found
    ((images, prompts),) = asked
    places = [0, 119, 239]
    assert prompts == [data.captions[place] for place in places]
    assert torch.equal(images, to_uint8(data.load_many(torch.tensor(places))))


@pytest.mark.filterwarnings("ignore::var.evaluation.RankDeficientWarning")
def test_samples_that_record_their_prompts_are_judged_by_them(judge, drawn, extractor, tmp_path, monkeypatch):
    judge = replace(judge, worth=judge.of_real(drawn, 40))
    opened = []
    monkeypatch.setattr(TextJudge, "opened", lambda *what, **how: (opened.append((what, how)), judge)[1])
    images, prompts = to_uint8(drawn.load_many(torch.arange(40))), drawn.captions[:40]
    for folder, records in (("real", None), ("set", prompts), ("plain", None)):
        (tmp_path / folder).mkdir()
        for place, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
            text = PngInfo()
            if records:
                text.add_text(KEY, record_text({"prompt": records[place], "seed": place % 2}))
            Image.fromarray(image).save(tmp_path / folder / f"{place}.png", pnginfo=text)
    build_statistics(tmp_path / "real", extractor, progress=False).save(tmp_path / "real.npz")
    options = {"captions": "shapes", "device": "cpu", "progress": False}
    report = evaluate_files([tmp_path / "set"], tmp_path / "real.npz", extractor, **options)
    expected = judge.judge(images, prompts)
    assert report.scores["retrieval"] == [expected.retrieval]
    assert report.scores["text_alignment"] == [text_alignment(expected.right, ("shape", "colour", "ground"))]
    assert opened == [(("shapes", (3, 8, 8)), {"device": "cpu", "progress": False})]
    real = f"R@1 of 32 {judge.worth.retrieval:.3f}"
    assert any(line.startswith("Words: real held-out images") and real in line for line in report.warnings)
    with pytest.raises(UserError, match="plain with images that record none"):
        evaluate_files([tmp_path / "plain"], tmp_path / "real.npz", extractor, **options)
