"""Starting from trained weights: which rows stay, what is refused, and where models are found."""

from dataclasses import replace

import pytest
import torch
from official_layout import official_pair
from tiny import transformer_config, vqvae_config

from var import VAR, VQVAE, VARPipeline
from var.errors import UserError
from var.hub.layout import RUN_FILE
from var.randomness import keyed_global_stream
from var.recipes.fine_tuning import Start, load_start, load_tokenizer, with_classes
from var.runs.fine_tuning import kept_rows

SIDES = (1, 2)
VQVAE_CONFIG = vqvae_config(sides=SIDES, base_channels=4, channel_multipliers=(1, 1), norm_groups=2, phi=4)
VAR_CONFIG = transformer_config(sides=SIDES, num_classes=3)
NAMES = ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def pipe():
    with keyed_global_stream("fine tuning"):
        return VARPipeline(VQVAE(VQVAE_CONFIG), VAR(VAR_CONFIG), class_names=NAMES)


@pytest.fixture(scope="module")
def start(pipe):
    return Start(transformer=pipe.transformer, vqvae=pipe.vqvae, class_names=NAMES)


def logits(model, label):
    inputs = torch.linspace(-1, 1, 4 * 4).view(1, 4, 4)
    with torch.no_grad():
        return model.eval()(torch.tensor([label]), inputs)


def test_rows_follow_the_names_and_the_null_label_stays():
    assert kept_rows(NAMES, NAMES, 3) == ([0, 1, 2, 3], "the class embedding is kept: 3 classes")
    rows, words = kept_rows(NAMES, ("bee", "dog", "ant", "cat"), 3)
    assert rows == [1, 3, 0, 2, 3]
    assert words.startswith("the class embedding is replaced: 3 classes before, 4 now, 3 of them known by name")
    assert kept_rows(NAMES, ("x", "y", "z"), 3)[0] == [3, 3, 3, 3]


def test_without_names_rows_stay_where_the_numbers_agree():
    assert kept_rows(None, ("x", "y", "z"), 3)[0] == [0, 1, 2, 3]
    assert kept_rows(None, ("x", "y"), 3)[0] == [3, 3, 3]


def test_new_classes_do_what_no_class_did_and_known_ones_what_they_did(start):
    model, _ = with_classes(start, replace(VAR_CONFIG, num_classes=4), ("cat", "dog", "ant", "eel"))
    old = start.transformer
    for label, before in enumerate((2, 3, 0, 3, 3)):
        torch.testing.assert_close(logits(model, label), logits(old, before))
    assert not torch.allclose(logits(model, 0), logits(model, 1))


def test_the_regularisation_may_change_and_the_architecture_not(start):
    model, _ = with_classes(start, replace(VAR_CONFIG, dropout=0.3, drop_path=0.2), NAMES)
    assert model.config.dropout == 0.3
    torch.testing.assert_close(logits(model, 1), logits(start.transformer, 1))
    with pytest.raises(UserError, match=r"transformer.depth is fixed by the weights to start from, 2, got 3"):
        with_classes(start, replace(VAR_CONFIG, depth=3), NAMES)


def same_weights(one, other):
    weights = other.state_dict()
    return all(torch.equal(value, weights[name]) for name, value in one.state_dict().items())


def test_models_are_found_in_folders_of_every_kind(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "pipe")
    for place in ("pipe", "pipe/vqvae"):
        assert same_weights(load_tokenizer(str(tmp_path / place), SIDES), pipe.vqvae)
    found = load_start(str(tmp_path / "pipe"))
    assert same_weights(found.transformer, pipe.transformer)
    assert same_weights(found.vqvae, pipe.vqvae)
    assert found.class_names == NAMES
    alone = load_start(str(tmp_path / "pipe" / "transformer"))
    assert same_weights(alone.transformer, pipe.transformer)
    assert (alone.vqvae, alone.class_names) == (None, None)


def test_an_unfinished_run_is_no_model(tmp_path):
    (tmp_path / RUN_FILE).write_text("run: {kind: vqvae}")
    for load in (lambda: load_tokenizer(str(tmp_path), SIDES), lambda: load_start(str(tmp_path))):
        with pytest.raises(UserError, match="must be finished to be used"):
            load()


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """Files in the layout of the official code."""
    folder = tmp_path_factory.mktemp("official")
    pair = official_pair(0, sides=(1, 2, 3), width=16, depth=1, heads=2, num_classes=10)
    for name, weights in zip(("vae.pth", "var.pth"), pair, strict=True):
        torch.save(weights, folder / name)
    return folder


def test_official_files_are_a_start_too(official):
    vqvae, transformer = str(official / "vae.pth"), str(official / "var.pth")
    found = load_start(transformer, tokenizer=vqvae)
    assert found.transformer.config.num_classes == 10
    assert same_weights(load_tokenizer(vqvae, (1, 2, 3)), found.vqvae)
    other = load_tokenizer(vqvae, (1, 3))
    assert other.config.sides == (1, 3)
    with pytest.raises(UserError, match=r"needs its tokenizer's file.*add --vqvae"):
        load_start(transformer)
