"""Alarms about codes that fall out of use: when they are given, and when not."""

import pytest
import torch

from var.recipes.vqvae.codebook_health import PATIENCE, CodebookWatch, code_use, count_codes
from var.vqvae import VQVAEConfig
from var.vqvae.codebook import Codebook


def make_watch(**settings):
    settings = {"codebook": "ema", "kmeans_init": True, "restart_below": 0.05, **settings}
    return CodebookWatch(VQVAEConfig(sides=(1, 2, 4), vocabulary=64, **settings))


def row(perplexities=(6.0, 20.0, 50.0), shares=(0.2, 0.5, 1.0)):
    numbers = {f"perplexity_{scale}": value for scale, value in enumerate(perplexities)}
    return {**numbers, **{f"usage_{scale}": value for scale, value in enumerate(shares)}}


def looks(watch, *numbers):
    return [watch.alarms(1000, each) for each in numbers]


def test_a_healthy_codebook_gives_no_alarm():
    assert looks(make_watch(), *[row()] * 10) == [[]] * 10


def test_a_scale_that_says_nothing_is_reported_once():
    found = looks(make_watch(), *[row((1.2, 20.0, 50.0))] * 6)
    assert found[: PATIENCE - 1] == [[]] * (PATIENCE - 1)
    assert found[PATIENCE - 1] == [
        "scale 0 (1x1) has collapsed, its tokens say next to nothing: 20% of 64 codes in use, perplexity 1.2; "
        "lower the learning rate, raise the batch size or shrink the vocabulary"
    ]
    assert found[PATIENCE:] == [[]] * (6 - PATIENCE)


def test_a_fall_below_a_quarter_of_the_best_is_reported():
    watch = make_watch()
    assert looks(watch, *[row()] * 3, *[row((6.0, 20.0, 13.0))] * 5) == [[]] * 8  # a little over a quarter
    (text,) = looks(watch, *[row((6.0, 20.0, 12.0))] * 3)[-1]
    assert text.startswith("scale 2 (4x4) is collapsing: 100% of 64 codes in use, perplexity 12.0, after a perplexity")


def test_an_unused_codebook_is_reported_with_the_way_to_mend_it():
    watch = make_watch(codebook="gradient", restart_below=0.0)
    (text,) = looks(watch, *[row(shares=(0.1, 0.2, 0.37))] * 3)[-1]
    assert text == (
        "most of the codebook is unused: no scale has more than 37% of 64 codes in use; "
        "train with codebook='ema', kmeans_init=true and restart_below=0.05"
    )


def test_a_short_dip_is_no_alarm_and_a_second_collapse_is_a_new_one():
    watch = make_watch()
    low = row((1.2, 20.0, 50.0))
    assert looks(watch, low, low, row(), low, low, row()) == [[]] * 6
    assert [len(found) for found in looks(watch, *[low] * 4, row(), *[low] * 4)] == [0, 0, 1, 0, 0, 0, 0, 1, 0]


def test_the_first_steps_say_nothing_yet():
    watch = make_watch(codebook_decay=0.9)
    found = [watch.alarms(step, row((1.2, 20.0, 50.0))) for step in range(1, 14)]
    assert [step for step, texts in enumerate(found, start=1) if texts] == [10 + PATIENCE - 1]


def test_the_statistics_of_a_collapsing_codebook_raise_the_alarm():
    config = VQVAEConfig(sides=(1, 2, 4), vocabulary=64, width=2, codebook_decay=0.8)
    codebook, watch = Codebook(config), CodebookWatch(config)
    found = []
    for step in range(60):
        spread = 64 if step < 20 else 3
        tokens = [torch.randint(spread, (n * 8,)) for n in (1, 4, 16)]
        codebook.observe([torch.zeros(len(scale), 2) for scale in tokens], tokens)
        share, perplexity = codebook.statistics()
        found.append(watch.alarms(step + 1, row(perplexity.tolist(), share.tolist())))
    assert not any(found[:20])
    said = " ".join(text for texts in found for text in texts)
    assert "scale 2 (4x4) is collapsing" in said
    assert "most of the codebook is unused" in said


def test_use_is_counted_by_scale():
    maps = [torch.tensor([[[3]], [[3]]]), torch.tensor([[[0, 1], [2, 3]], [[0, 1], [2, 3]]])]
    counts = count_codes(maps, 5)
    assert counts.tolist() == [[0, 0, 0, 2, 0], [2, 2, 2, 2, 0]]
    shares, perplexity = code_use(counts)
    assert shares.tolist() == pytest.approx([0.2, 0.8])
    assert perplexity.tolist() == pytest.approx([1.0, 4.0])  # one code, and four alike
    share, together = code_use(counts.sum(0))
    assert share == pytest.approx(0.8)
    # 2, 2, 2 and 4 of 10.
    assert together == pytest.approx(0.2**-0.6 * 0.4**-0.4)
    assert code_use(torch.zeros(5, dtype=torch.int64))[0] == 0
