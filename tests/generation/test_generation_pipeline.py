"""What users do with the pipeline: classes, seeds, guidance, looks, files, and mistakes."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_pipeline, tiny_transformer, tiny_vqvae

from var import VAR, VQVAE, VARConfig, VARPipeline
from var.errors import UserError
from var.images import to_uint8


def run(pipe, *arguments, **settings):
    return pipe(*arguments, **{"output_type": "pt", "progress": False, **settings})


def same_tokens(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def joined(outputs):
    return [torch.cat(maps) for maps in zip(*(out.tokens for out in outputs), strict=True)]


SETTINGS = [
    {},
    {"guidance_scale": 3.0, "top_k": 9},
    {"guidance_scale": 2.0, "guidance_schedule": "constant", "top_p": 0.8, "temperature": 1.3},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_batch_of_eight_equals_eight_batches_of_one(pipe, settings):
    labels, seeds = [0, 1, 2, 3, 4, 0, 1, 2], list(range(20, 28))
    together = run(pipe, labels, seeds=seeds, **settings)
    alone = [run(pipe, label, seeds=[seed], **settings) for label, seed in zip(labels, seeds, strict=True)]
    assert same_tokens(together.tokens, joined(alone))
    torch.testing.assert_close(together.images, torch.cat([out.images for out in alone]), atol=1e-5, rtol=0)
    assert len(together.images.flatten(1).unique(dim=0)) == 8


def test_the_same_seed_gives_the_same_image_and_another_seed_another(pipe):
    out = run(pipe, [3, 3, 3], seeds=[11, 12, 11])
    # Within a batch the place of an image may change the last bits of its sums, but no token.
    assert all(torch.equal(tokens[0], tokens[2]) for tokens in out.tokens)
    torch.testing.assert_close(out.images[0], out.images[2], atol=1e-5, rtol=0)
    assert not torch.equal(out.images[0], out.images[1])
    assert torch.equal(run(pipe, [3, 3, 3], seeds=[11, 12, 11]).images, out.images)


def test_a_generator_for_the_batch_is_reproducible_and_the_global_one_is_left_alone(pipe):
    before = torch.get_rng_state()
    first = run(pipe, [1, 2], generator=torch.Generator().manual_seed(0))
    again = run(pipe, [1, 2], generator=torch.Generator().manual_seed(0))
    other = run(pipe, [1, 2], generator=torch.Generator().manual_seed(1))
    run(pipe, [1, 2])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    # The seeds that a call reports repeat its images.
    assert torch.equal(run(pipe, [1, 2], seeds=first.seeds).images, first.images)
    fresh = run(pipe, "random", 2)
    assert torch.equal(run(pipe, "random", seeds=fresh.seeds).images, fresh.images)


def test_a_list_of_generators_gives_one_to_each_image(pipe):
    generators = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    assert torch.equal(run(pipe, [1, 2], generator=generators).images, run(pipe, [1, 2], seeds=[5, 6]).images)


def test_guidance_zero_is_the_unconditional_model(pipe):
    seeds = [1, 2, 3]
    zero = run(pipe, [0, 1, 2], guidance_scale=0, guidance_schedule="constant", seeds=seeds)
    null = run(pipe, None, seeds=seeds)
    assert same_tokens(zero.tokens, null.tokens)
    assert null.labels.tolist() == [5, 5, 5]
    assert not same_tokens(zero.tokens, run(pipe, [0, 1, 2], guidance_scale=1, seeds=seeds).tokens)


def test_guidance_one_is_the_conditional_model(pipe):
    seeds = [1, 2, 3]
    one = run(pipe, [0, 1, 2], guidance_scale=1, seeds=seeds)
    # 1 at every scale but the last, where the null half is computed: all but the last token maps are the same.
    last = run(pipe, [0, 1, 2], guidance_scale=[1, 1, 4], seeds=seeds)
    assert same_tokens(one.tokens[:2], last.tokens[:2])
    assert not torch.equal(one.tokens[2], last.tokens[2])


def test_without_a_class_guidance_changes_nothing(pipe):
    unguided = run(pipe, None, guidance_scale=1.0, seeds=[1, 2])
    assert torch.equal(run(pipe, None, guidance_scale=7.0, seeds=[1, 2]).images, unguided.images)


def test_random_classes_follow_from_the_seeds(pipe):
    out = run(pipe, "random", seeds=list(range(40)))
    assert set(out.labels.tolist()) == {0, 1, 2, 3, 4}
    given = run(pipe, out.labels, seeds=list(range(40)))
    assert torch.equal(given.images, out.images)
    assert run(pipe, "random", seeds=[17]).labels.tolist() == [out.labels[17]]


def test_default_is_one_image_without_a_class(pipe):
    out = run(pipe)
    assert out.images.shape == (1, 1, 6, 6)
    assert out.labels.tolist() == [5]
    assert [tuple(tokens.shape) for tokens in out.tokens] == [(1, 1, 1), (1, 2, 2), (1, 3, 3)]
    assert len(run(pipe, 3, 4).images) == 4


def test_a_rectangular_schedule_end_to_end(rectangular_pipe):
    out = run(rectangular_pipe, [0, 1], seeds=[1, 2], guidance_scale=2.0)
    assert out.images.shape == (2, 1, 6, 8)
    assert [tuple(tokens.shape[1:]) for tokens in out.tokens] == [(1, 2), (2, 3), (3, 4)]
    assert rectangular_pipe(0, progress=False).images[0].size == (8, 6)
    assert same_tokens(
        out.tokens, joined([run(rectangular_pipe, i, seeds=[i + 1], guidance_scale=2.0) for i in (0, 1)])
    )


def test_intermediates_are_the_images_after_every_scale(pipe):
    out = run(pipe, [0, 1], seeds=[1, 2], return_intermediates=True)
    assert len(out.intermediates) == 3
    assert torch.equal(out.intermediates[-1], out.images)
    with torch.no_grad():
        for known in (1, 2, 3):
            expected = (pipe.vqvae.decode(out.tokens[:known]) + 1) / 2
            torch.testing.assert_close(out.intermediates[known - 1], expected)
    plain = run(pipe, [0, 1], seeds=[1, 2])
    assert plain.intermediates is None
    assert torch.equal(plain.images, out.images)


def test_the_callback_sees_every_scale(pipe):
    calls = []
    out = run(pipe, [0, 1], seeds=[1, 2], callback_on_step_end=lambda *seen: calls.append(seen))
    assert [scale for scale, _, _ in calls] == [0, 1, 2]
    assert same_tokens([tokens for _, tokens, _ in calls], out.tokens)
    with torch.no_grad():
        accumulated = pipe.vqvae.quantizer.accumulate(out.tokens)
    for (_, _, latent), expected in zip(calls, accumulated, strict=True):
        torch.testing.assert_close(latent, expected)


def test_output_types_agree(pipe):
    unit = run(pipe, [0, 1], seeds=[1, 2]).images
    assert unit.min() >= 0
    assert unit.max() <= 1
    assert unit.std() > 0.01
    array = run(pipe, [0, 1], seeds=[1, 2], output_type="np").images
    assert isinstance(array, np.ndarray)
    assert np.array_equal(array, unit.permute(0, 2, 3, 1).numpy())
    pictures = pipe([0, 1], seeds=[1, 2], progress=False).images
    assert all(isinstance(picture, Image.Image) and picture.mode == "L" for picture in pictures)
    assert np.array_equal(np.stack(pictures), to_uint8(unit * 2 - 1)[:, 0].numpy())


def test_smooth_images_are_made_but_with_certain_codes_nothing_is_mixed(pipe):
    settings = {"seeds": [1, 2], "guidance_scale": 2.0}
    sharp, smooth = run(pipe, [0, 1], **settings), run(pipe, [0, 1], smooth=True, **settings)
    assert torch.isfinite(smooth.images).all()
    assert not torch.equal(sharp.images, smooth.images)
    assert torch.equal(run(pipe, [0, 1], smooth=True, **settings).images, smooth.images)
    greedy = run(pipe, [0, 1], top_k=1, **settings)
    for narrow in ({"temperature": 1e-6}, {"top_k": 1}, {"top_k": 4, "temperature": 1e-6}):
        certain = run(pipe, [0, 1], smooth=True, **narrow, **settings)
        assert same_tokens(certain.tokens, greedy.tokens)
        torch.testing.assert_close(certain.images, greedy.images, atol=1e-5, rtol=0)


def test_a_low_temperature_is_greedy_and_a_high_one_spreads(pipe):
    labels, seeds = [0] * 64, list(range(64))
    greedy = run(pipe, 0, top_k=1).tokens[0]
    cold, hot = (run(pipe, labels, seeds=seeds, temperature=t).tokens[0].flatten() for t in (1e-4, 100.0))
    assert (cold == greedy.flatten()).all()
    assert len(hot.unique()) > 10


def test_what_a_call_returns_can_be_trained_on(pipe):
    out = run(pipe, [0, 1], seeds=[1, 2])
    logits = pipe.transformer(out.labels, pipe.vqvae.teacher_inputs(out.tokens).detach())
    (gradient,) = torch.autograd.grad(logits.square().mean(), pipe.transformer.head.weight)
    assert gradient.any()


def test_saving_and_loading_gives_identical_images(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "pipeline")
    loaded = VARPipeline.from_pretrained(tmp_path / "pipeline")
    assert loaded.vqvae.config == pipe.vqvae.config
    assert loaded.transformer.config == pipe.transformer.config
    settings = {"seeds": [1, 2], "guidance_scale": 2.0, "top_k": 8}
    assert torch.equal(run(loaded, [0, 1], **settings).images, run(pipe, [0, 1], **settings).images)
    vqvae = VQVAE.from_pretrained(tmp_path / "pipeline" / "vqvae")
    transformer = VAR.from_pretrained(tmp_path / "pipeline" / "transformer")
    again = VARPipeline(vqvae=vqvae, transformer=transformer)
    assert torch.equal(run(again, [0, 1], **settings).images, run(pipe, [0, 1], **settings).images)


def test_a_rectangular_pipeline_survives_saving(rectangular_pipe, tmp_path):
    rectangular_pipe.save_pretrained(tmp_path)
    loaded = VARPipeline.from_pretrained(tmp_path)
    assert torch.equal(run(loaded, 1, seeds=[3]).images, run(rectangular_pipe, 1, seeds=[3]).images)


def test_half_precision_makes_images(own_pipe):
    for smooth in (False, True):
        out = run(own_pipe.to(torch.bfloat16), [0, 1], seeds=[1, 2], guidance_scale=2.0, smooth=smooth)
        assert out.images.dtype == torch.float32
        assert torch.isfinite(out.images).all()


def test_models_are_put_into_evaluation():
    parts = tiny_pipeline(dropout=0.5)
    pipe = VARPipeline(parts.vqvae.train(), parts.transformer.train())
    assert torch.equal(run(pipe, 1, seeds=[3]).images, run(pipe, 1, seeds=[3]).images)
    assert not pipe.transformer.training
    assert not pipe.vqvae.training


def test_the_progress_bar_can_be_turned_off(pipe, capsys):
    run(pipe, 1)
    assert capsys.readouterr() == ("", "")
    run(pipe, 1, progress=True)
    assert "scales" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"class_labels": 5}, r"must lie in \[0, 5\), got 5; pass None"),
        ({"class_labels": [0, -1]}, r"must lie in \[0, 5\), got -1"),
        ({"class_labels": "cat"}, "None or 'random', got 'cat'"),
        ({"class_labels": [0, 1], "num_images": 3}, "class_labels for 2, num_images for 3"),
        ({"num_images": 0}, "at least one image"),
        ({"guidance_schedule": "liner"}, "unknown guidance_schedule 'liner'; did you mean 'linear'"),
        ({"guidance_scale": [1.0, 2.0]}, "one for each of 3 scales, got 2"),
        ({"generator": [torch.Generator()], "num_images": 2}, "each of 2 images, got 1"),
        ({"generator": torch.Generator(), "seeds": [1]}, "both generator and seeds"),
        ({"seeds": [-1]}, r"must lie in \[0, 2\^63\), got -1"),
        ({"temperature": 0}, "temperature must be positive, got 0"),
        ({"top_k": -2}, "top_k must be a count"),
        ({"top_p": 2}, r"top_p is a probability and must lie in \[0, 1\], got 2"),
    ],
)
def test_impossible_requests(pipe, settings, message):
    with pytest.raises(UserError, match=message) as caught:
        run(pipe, **settings)
    assert "\n" not in str(caught.value)


def test_an_unknown_output_type_is_refused_before_the_work(pipe):
    calls = []
    with pytest.raises(UserError, match="unknown output_type 'pill'; did you mean 'pil'"):
        run(pipe, output_type="pill", callback_on_step_end=lambda *seen: calls.append(seen))
    assert calls == []


def test_impossible_likelihoods(pipe):
    images = torch.zeros(2, 1, 6, 6)
    with pytest.raises(UserError, match=r"must lie in \[0, 5\), got 5"):
        pipe.log_likelihood(images, [0, 5])
    with pytest.raises(UserError, match="each of 2 images, got 3"):
        pipe.log_likelihood(images, [0, 1, 2])
    with pytest.raises(UserError, match="must be 6x6"):
        pipe.log_likelihood(torch.zeros(2, 1, 8, 8), [0, 1])
    with pytest.raises(UserError, match="must be finite"):
        pipe.log_likelihood(images + math.nan, [0, 1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sides": (1, 2, 4)}, r"the same sides, got \(1, 2, 3\) and \(1, 2, 4\)"),
        ({"vocabulary": 17}, "the same vocabulary, got 16 and 17"),
        ({"code_width": 8}, "the same code width, got 4 and 8"),
    ],
)
def test_models_that_were_not_trained_together(pipe, changes, message):
    config = {
        "sides": (1, 2, 3),
        "vocabulary": 16,
        "code_width": 4,
        "num_classes": 5,
        "depth": 1,
        "width": 8,
        "heads": 1,
    }
    with pytest.raises(UserError, match=message):
        VARPipeline(pipe.vqvae, VAR(VARConfig(**{**config, **changes})))


def test_three_channels_make_colour_pictures_and_two_are_refused_before_the_work():
    for channels in (3, 2):
        vqvae = tiny_vqvae(sides=(1, 2), in_channels=channels, channel_multipliers=(1,))
        pipe = VARPipeline(vqvae, tiny_transformer(sides=(1, 2)))
        assert run(pipe, 1).images.shape == (1, channels, 2, 2)
        if channels == 3:
            assert pipe(1, progress=False).images[0].mode == "RGB"
        else:
            with pytest.raises(UserError, match="only 1 or 3 channels"):
                pipe(1, progress=False)
