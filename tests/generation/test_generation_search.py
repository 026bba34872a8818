"""Search over scales: one candidate is a plain call, the best of several goes on, and it costs what it says."""

import pytest
import torch
from matrix_rows import OFFICIAL, Rows
from tiny import spread, tiny_pipeline

from var import Guidance, VARPipeline
from var.conditions import Condition
from var.errors import UserError
from var.evaluation.features.classifier import Classifier, ClassifierConfig
from var.evaluation.features.image_text import ImageTextNetwork
from var.evaluation.text_judging import TextJudge
from var.generation.verifiers import Compared, verifier_of
from var.images import to_uint8

CALL = {"class_labels": [1, 4, 2], "seeds": [5, 6, 7], "output_type": "pt", "progress": False, "guidance_scale": 3.0}


def same(left, right):
    return [torch.equal(*pair) for pair in zip(left.tokens, right.tokens, strict=True)]


def third(images, labels):
    """Prefers the third of four candidates of each image."""
    return [0.0, 1.0, 2.0, 1.0] * (len(images) // 4)


def classifier(classes=5):
    torch.manual_seed(4)
    config = ClassifierConfig(name="six", height=6, width=6, num_classes=classes, widths=(8, 8), strides=(1, 2))
    return spread(Classifier(config)).eval()


def test_one_candidate_and_the_first_of_several_are_a_plain_call(pipe):
    plain = pipe(**CALL)
    one = pipe(**CALL, candidates=1, keep_scale=1, verifier=third)
    assert all(same(one, plain))
    assert torch.equal(one.images, plain.images)
    assert plain.search is one.search is None
    first = pipe(**CALL, candidates=3, keep_scale=1, verifier=lambda images, labels: torch.zeros(9))
    with pytest.raises(UserError, match="keep_scale is of a search among candidates, got 1 without candidates"):
        pipe(**CALL, keep_scale=1)
    assert all(same(first, plain))
    assert first.search == {"candidates": 3, "keep_scale": 1, "verifier": "function", "picked": [0, 0, 0]}


@pytest.mark.parametrize("keep_scale", [0, 1, 2])
def test_the_one_picked_is_refined_and_depends_on_its_own_seed_only(pipe, keep_scale):
    search = {"candidates": 4, "keep_scale": keep_scale, "verifier": third, "return_intermediates": True}
    out = pipe(**CALL, **search)
    assert out.search["picked"] == [2, 2, 2]
    assert not all(same(out, pipe(**CALL)))
    assert [each.shape for each in out.tokens] == [(3, 1, 1), (3, 2, 2), (3, 3, 3)]
    assert torch.equal(out.intermediates[-1], out.images)
    with torch.no_grad():
        torch.testing.assert_close(out.images, (pipe.vqvae.decode(out.tokens) + 1) / 2)
    alone = pipe(**{**CALL, "class_labels": [4], "seeds": [6]}, **search)
    assert all(torch.equal(each[1:2], one) for each, one in zip(out.tokens, alone.tokens, strict=True))
    for stop in range(keep_scale + 1, 3):  # the same candidate, picked later, has the same maps
        later = pipe(**CALL, **{**search, "keep_scale": stop})
        assert all(same(later, out))


def test_the_likelihood_is_that_of_the_tokens(pipe):
    seen = []

    def spy(images, labels):
        seen.append((images, labels))
        return [0.0] * len(images)

    call = {**CALL, "guidance_scale": 1}
    out = pipe(**call, candidates=4, keep_scale=2)
    pipe(**call, candidates=4, keep_scale=2, verifier=spy)
    (images, labels) = seen[0]
    assert labels.tolist() == [1] * 4 + [4] * 4 + [2] * 4
    assert images.shape == (12, 1, 6, 6)
    assert images.min() >= -1
    scores = []  # of every candidate, drawn as the winner of a search of its own
    for place in range(4):
        one = pipe(**call, candidates=4, keep_scale=2, verifier=lambda i, _, at=place: [k % 4 == at for k in range(12)])
        inputs = pipe.vqvae.teacher_inputs(one.tokens)
        with torch.no_grad():
            known = pipe.transformer(torch.tensor(call["class_labels"]), inputs).log_softmax(-1)
        scores.append(known.gather(-1, pipe.vqvae.scales.flatten(one.tokens)[..., None]).sum(dim=(1, 2)))
        torch.testing.assert_close(one.images, (images.view(3, 4, 1, 6, 6)[:, place] + 1) / 2)
    assert out.search["picked"] == torch.stack(scores, dim=1).argmax(dim=1).tolist()
    assert len(set(out.search["picked"])) > 1


def test_a_classifier_picks_what_it_takes_for_the_class_asked_for(pipe):
    judge = classifier()
    out = pipe(**CALL, candidates=6, keep_scale=2, verifier=judge)
    assert out.search["verifier"] == "six"
    levels = (out.images * 255).round().to(torch.uint8)
    plain = (pipe(**CALL).images * 255).round().to(torch.uint8)
    chosen, other = (judge(each).logits.log_softmax(1)[range(3), CALL["class_labels"]] for each in (levels, plain))
    assert (chosen >= other).all()
    assert (chosen > other).any()


def test_a_judge_of_texts_picks_what_is_most_like_them(pipe):
    torch.manual_seed(5)
    judge = TextJudge(
        image_text=spread(ImageTextNetwork(1, 3)),
        encode=lambda texts: torch.tensor([[len(text), 1.0, -1.0] for text in texts]),
        attributes=None,
        words_in=None,
    )
    texts, images = ["a", "cat"], torch.rand(4, 1, 6, 6) * 2 - 1
    shown = Condition.of(torch.zeros(4, dtype=torch.int64))
    found = Compared(lambda latents: latents, images, torch.zeros(4), shown, [texts[0]] * 2 + [texts[1]] * 2)
    scores = verifier_of(judge, 5)(found)
    looks = judge.image_text.look(to_uint8(images))
    words = judge.image_text.texts(judge.encode(texts)).repeat_interleave(2, 0)
    torch.testing.assert_close(scores, torch.nn.functional.cosine_similarity(looks, words))
    with pytest.raises(UserError, match="a judge of texts as verifier needs the text of every image"):
        pipe(**CALL, candidates=2, verifier=judge)


def test_other_kinds_of_calls(pipe):
    """Without guidance, with a weaker model, and with two by turns, the first of equal candidates is a plain call."""
    torch.manual_seed(11)
    small = VARPipeline(pipe.vqvae, spread(tiny_pipeline(depth=1).transformer))
    for each, given in (
        (pipe, {"guidance_scale": [2.0, 1.0, 1.0]}),
        (pipe, {"guidance": Guidance(scale=2.0, weaker=small), "guidance_scale": 2.0}),
        (VARPipeline.collaborate(pipe, small, 1), {}),
        (VARPipeline.collaborate(pipe, small, 2), {"class_labels": None, "num_images": 3}),
    ):
        call = {**CALL, **given}
        search = {"candidates": 2, "keep_scale": 1, "verifier": lambda images, _: [0.0] * len(images)}
        assert all(same(each(**call, **search), each(**call)))


def test_best_of_four_costs_what_it_says():
    pipe = tiny_pipeline(sides=OFFICIAL, depth=1)
    rows = []
    for search in ({}, {"candidates": 4, "keep_scale": 6}):
        with Rows((32, 96)) as counted:
            pipe(1, seeds=[0], guidance_scale=1, output_type="pt", progress=False, **search)
        rows.append(counted.seen)
    first = sum(side**2 for side in OFFICIAL[:7])
    assert rows == [680, 4 * first + (680 - first)]
    assert rows[1] / rows[0] < 1.7


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"candidates": 0}, "candidates must be from 1 to 1024 for an image, got 0"),
        ({"candidates": 5000}, "candidates must be from 1 to 1024 for an image, got 5000"),
        ({"keep_scale": 3}, "keep_scale must be the last scale that all candidates draw, from 0 to 2, got 3"),
        ({"keep_scale": -1}, "from 0 to 2, got -1"),
        ({"verifier": "liklihood"}, "unknown verifier 'liklihood'; did you mean 'likelihood'"),
        ({"verifier": 3}, "verifier must be 'likelihood', a classifier, a judge of texts or a function .*, got 3"),
        ({"verifier": None}, "got None"),
        ({"verifier": lambda images, _: "good"}, "a verifier must give 6 numbers, got 'good'"),
        ({"verifier": lambda images, _: images}, r"a finite score for each of 6 candidates, got \(6, 1, 6, 6\)"),
        ({"verifier": lambda images, _: [float("nan")] * 6}, "a finite score for each of 6 candidates, got .* 6 NaN"),
        ({"verifier": classifier(4)}, "must tell the model's 5 classes, got 4"),
        ({"verifier": classifier(), "class_labels": None}, "needs the class of every image, got none"),
        ({"seeds": None, "generator": torch.Generator(), "official_stream": True}, "official_stream is one stream"),
    ],
)
def test_what_cannot_be_is_refused(pipe, given, message):
    with pytest.raises(UserError, match=message):
        pipe(**{**CALL, "candidates": 2, **given})
