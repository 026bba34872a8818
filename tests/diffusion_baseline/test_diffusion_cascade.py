"""A cascade: small images noised and told so, enlarged from seeds of their own, saved whole; its task and its job."""

import json

import pytest
import torch
from annotations import unchecked
from PIL import Image
from tiny import spread, tiny_unet

from diffusion_baseline import CascadePipeline, DiffusionPipeline
from diffusion_baseline.cascade import enlarge
from diffusion_baseline.cli import main
from diffusion_baseline.job import _enlarge_shown, _small_of, unet_cost
from diffusion_baseline.presets import diffusion_run
from diffusion_baseline.sampling_settings import SamplingSettings
from diffusion_baseline.schedules import cosine_schedule
from diffusion_baseline.super_resolution import Enlarging, shrunken
from diffusion_baseline.task import DiffusionTask
from diffusion_baseline.unet import UNet
from var.conditions import Condition
from var.data import ArrayData, digits
from var.data.batches import Batch
from var.errors import UserError
from var.hub.pipelines import _places
from var.hub.remote.downloads import _saved_model

QUIET = {"output_type": "pt", "progress": False, "num_inference_steps": 3}
NAMES = ["a", "b", "c"]


def pipeline(seed, **changes):
    torch.manual_seed(seed)
    return DiffusionPipeline(spread(tiny_unet(**changes)), num_timesteps=20, class_names=NAMES)


@pytest.fixture
def cascade():
    """From 2x4 to 4x8."""
    return CascadePipeline(pipeline(0, image_size=(2, 4)), pipeline(1, small_size=(2, 4), small_noise=0.5))


def small_images(count=2):
    return torch.rand(count, 1, 2, 4, generator=torch.Generator().manual_seed(4)) * 2 - 1


def test_an_image_depends_on_its_own_seed_only(cascade):
    out = cascade([0, 2, 1], seeds=[5, 6, 7], **QUIET)
    assert (tuple(out.images.shape), tuple(out.small.shape)) == ((3, 1, 4, 8), (3, 1, 2, 4))
    assert (out.labels.tolist(), out.seeds) == ([0, 2, 1], [5, 6, 7])
    alone = cascade([1], seeds=[7], **QUIET)
    torch.testing.assert_close(alone.images, out.images[2:], atol=2e-5, rtol=0)
    torch.testing.assert_close(out.small, cascade.base([0, 2, 1], seeds=[5, 6, 7], **QUIET).images)
    drawn = cascade("random", seeds=range(6), **QUIET)
    assert torch.equal(cascade.base("random", seeds=range(6), **QUIET).labels, drawn.labels)
    one = cascade(["b"], generator=torch.Generator().manual_seed(7), **QUIET)
    torch.testing.assert_close(one.images, alone.images)


def test_all_that_it_is_told_matters(cascade):
    def images(**settings):
        return cascade([0], seeds=[5], **{**QUIET, **settings}).images

    first = images()
    for change in ({"augmentation": 0.5}, {"guidance_scale": 3.0}, {"small_sampling": SamplingSettings(eta=1.0)}):
        assert not torch.allclose(images(**change), first, atol=1e-4), change
    assert torch.equal(images(augmentation=0.25), first)  # half of the training's noise is the default
    assert not torch.allclose(cascade([1], seeds=[5], **QUIET).images, first, atol=1e-4)


def test_without_augmentation_the_network_sees_the_small_image_itself(cascade):
    seen = []
    network = cascade.super_resolution.unet
    network.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[2]))
    small = small_images()
    enlarge(cascade.super_resolution, small, [0, 1], seeds=[1, 2], augmentation=0.0, guidance_scale=1, **QUIET)
    assert all(torch.equal(each.small, small) and each.levels.tolist() == [0, 0] for each in seen)
    seen.clear()
    enlarge(cascade.super_resolution, small, [0, 1], seeds=[1, 2], augmentation=0.5, guidance_scale=2.0, **QUIET)
    assert all(each.levels.tolist() == [10] * 4 and each.given.tolist() == [True] * 2 + [False] * 2 for each in seen)
    assert all(torch.equal(*each.small.chunk(2)) for each in seen)  # guidance is away from the class alone
    assert not torch.equal(seen[0].small[:2], small)


def test_the_network_sees_the_image_and_the_small_one_beside_it(cascade):
    unet, x, small = cascade.super_resolution.unet, torch.randn(2, 1, 4, 8), small_images()
    seen = []
    unet.stem.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    shown = Enlarging.made_of(Condition.of(torch.tensor([0, 1])), small, torch.tensor([0, 3]))
    first = unet(x, torch.tensor([2, 2]), shown)
    assert torch.equal(seen[0][:, :1], x)
    torch.testing.assert_close(shrunken(seen[0][:, 1:], (2, 4)), small, atol=0.7, rtol=0)
    flat = Enlarging.made_of(shown, torch.full_like(small, 0.5), shown.levels)
    unet(x, torch.tensor([2, 2]), flat)
    assert torch.equal(seen[1][:, 1:], torch.full_like(x, 0.5))
    other = Enlarging.made_of(shown, small, torch.tensor([0, 4]))
    assert torch.equal(unet(x, torch.tensor([2, 2]), other)[0], first[0])
    assert not torch.allclose(unet(x, torch.tensor([2, 2]), other)[1], first[1], atol=1e-5)


def test_training_shrinks_the_images_and_adds_noise_of_the_level_that_is_told(cascade):
    pipe, seen = cascade.super_resolution, []
    pipe.unet.register_forward_pre_hook(lambda _, arguments, given: seen.append(given["shown"]), with_kwargs=True)
    whole = torch.arange(40)
    batch = Batch(torch.rand(40, 1, 4, 8) * 2 - 1, Condition.of(whole % 3), whole)
    DiffusionTask(pipe, label_drop=0.5).loss(pipe.unet, batch, torch.Generator().manual_seed(0))
    (shown,) = seen
    assert set(shown.levels.tolist()) == set(range(11))  # none, and the noise of half of 20 timesteps
    assert 0 < shown.given.sum() < 40
    small = shrunken(batch.images, (2, 4))
    torch.testing.assert_close(small[0, 0, 0, 0], batch.images[0, 0, :2, :2].mean())
    clean = shown.levels == 0
    assert torch.equal(shown.small[clean], small[clean])
    schedule = cosine_schedule(20)
    signal, noise = schedule.signal_and_noise(shown.levels - 1, small)
    drawn = ((shown.small - signal * small) / noise)[~clean]
    assert abs(drawn.mean()) < 0.2
    assert 0.8 < drawn.std() < 1.2


def test_it_is_saved_whole(cascade, tmp_path):
    cascade.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "pipeline_index.json").read_text())
    assert index["parts"] == {"base": "DiffusionPipeline", "super_resolution": "DiffusionPipeline"}
    loaded = CascadePipeline.from_pretrained(tmp_path)
    assert torch.equal(loaded([2], seeds=[3], **QUIET).images, cascade([2], seeds=[3], **QUIET).images)
    assert DiffusionPipeline.from_pretrained(tmp_path / "base").image_shape == (1, 2, 4)
    with pytest.raises(UserError, match="got 'CascadePipeline'"):
        DiffusionPipeline.from_pretrained(tmp_path)
    (tmp_path / "super_resolution" / "pipeline_index.json").unlink()
    with pytest.raises(UserError, match="super_resolution"):
        CascadePipeline.from_pretrained(tmp_path)


def test_of_the_hub_the_files_of_all_parts_are_fetched():
    """Those of the pipelines within the pipeline too, and nothing else that lies there."""
    names = [
        f"{place}/{file}" for place in ("base/unet", "super_resolution/codec") for file in ("config.json", "x.bin")
    ]
    names += ["pipeline_index.json", "base/pipeline_index.json", "base/notes.txt", "other/config.json"]
    found = _saved_model("", list(_places(CascadePipeline))).among(names)
    assert set(found) == {name for name in names if not name.startswith("other") and name.endswith("json")}


def test_what_does_not_go_together_is_refused(cascade):
    base, large = cascade.base, cascade.super_resolution
    with pytest.raises(UserError, match=r"must make the small images .* enlarges, \(1, 2, 4\), got \(1, 4, 8\)"):
        CascadePipeline(pipeline(0), large)
    with pytest.raises(UserError, match="super_resolution needs a U-Net that enlarges images, got small_size=0"):
        CascadePipeline(base, base)
    with unchecked(), pytest.raises(UserError, match="base must be a DiffusionPipeline, got UNet"):
        CascadePipeline(base.unet, large)
    named = DiffusionPipeline(base.unet, num_timesteps=20, class_names=["x", "y", "z"])
    with pytest.raises(UserError, match="both pipelines must know the same classes"):
        CascadePipeline(named, large)
    with pytest.raises(UserError, match=r"this network enlarges images of 2x4 .* got none; use it as the super_res"):
        large([0], **QUIET)
    for wrong in (0.6, -0.1, float("nan"), "much", True):
        with (
            unchecked(),
            pytest.raises(UserError, match=r"augmentation must lie between 0 and the 0.5 of the training .*, got"),
        ):
            cascade([0], augmentation=wrong, **QUIET)
    with pytest.raises(UserError, match=r"small images must be 2x4 \(height x width\), got 4x8"):
        enlarge(large, torch.zeros(1, 1, 4, 8), [0], **QUIET)
    with pytest.raises(UserError, match="small_size must be at most image_size"):
        tiny_unet(small_size=(8, 8))
    drawn = []
    cascade.base.unet.register_forward_pre_hook(lambda *_: drawn.append(1))
    for name, wrong in (("output_type", "jpg"), ("callback_on_step_end", "print"), ("return_intermediates", "no")):
        with unchecked(), pytest.raises(UserError, match=name):
            cascade([0], **{**QUIET, name: wrong})
    assert not drawn  # small images that nobody would see


def test_the_command_draws_with_both_or_with_the_cascade_that_was_saved(cascade, tmp_path, capsys):
    parts = {"whole": cascade, "small": cascade.base, "large": cascade.super_resolution}
    for name, part in parts.items():
        part.save_pretrained(tmp_path / name)
    options = ["--classes", "b", "--seeds", "3-4", "--steps", "3", "--guidance", "2", "--device", "cpu", "--quiet"]

    def generate(name, *given, output="out"):
        code = main(["generate", "--model", str(tmp_path / name), *given, *options, "--output", str(tmp_path / output)])
        return code, capsys.readouterr()

    upscaler = ["--upscaler", str(tmp_path / "large")]
    assert generate("small", *upscaler)[0] == 0
    images = cascade([1, 1], seeds=[3, 4], num_inference_steps=3, guidance_scale=2.0, progress=False).images
    with Image.open(tmp_path / "out" / "4.png") as drawn:
        assert drawn.tobytes() == images[1].tobytes()
        assert json.loads(drawn.info["next-scale"])["pipeline"] == "CascadePipeline"
    assert "0 of them new" in generate("whole")[1].out  # the same images, by their records
    noised = cascade([1], seeds=[3], num_inference_steps=3, guidance_scale=2.0, augmentation=0.5, progress=False)
    assert generate("whole", "--augmentation", "0.5", output="noised")[0] == 0
    with Image.open(tmp_path / "noised" / "3.png") as drawn:
        assert drawn.tobytes() == noised.images[0].tobytes()
        assert json.loads(drawn.info["next-scale"])["augmentation"] == 0.5
    for name, given, told in (
        ("large", upscaler, "the base must make the small images (channels, height, width) that super_resolution"),
        ("small", ["--upscaler", str(tmp_path / "small")], "super_resolution needs a U-Net that enlarges images"),
        ("whole", upscaler, "is a cascade, which enlarges by itself, got --upscaler too; leave it out"),
        ("small", ["--augmentation", "0.1"], "--augmentation is of a cascade, got"),
        ("whole", ["--augmentation", "0.6"], "augmentation must lie between 0 and the 0.5 of the training"),
        ("whole", ["--weaker", "x"], "a cascade is guided by its own networks, got --weaker too; leave it out"),
    ):
        code, said = generate(name, *given, output="other")
        assert (code, told in said.err, said.err.count("\n")) == (2, True, 1), said.err
    assert not (tmp_path / "other").exists()


def test_a_run_enlarges_held_out_images(tmp_path, capsys):
    settings = {
        "training.steps": 2,
        "training.batch_size": 8,
        "evaluation.every": 2,
        "evaluation.samples": 10,
        "evaluation.grid": 4,
        "evaluation.judge_steps": 2,
        "sampling_steps": 2,
        "num_timesteps": 20,
        "unet.base_channels": 8,
        "unet.embedding_width": 16,
        "unet.norm_groups": 4,
        "unet.small_size": 4,
        "unet.small_noise": 0.2,
    }
    options = [part for each in settings.items() for part in ("--set", "=".join(map(str, each)))]
    command = ["train", "digits", "--preset", "digits", "--output", str(tmp_path / "run"), "--quiet", "--device", "cpu"]
    assert main([*command, *options]) == 0
    assert "fd_digits" in (tmp_path / "run" / "log.jsonl").read_text()
    pipe = DiffusionPipeline.from_pretrained(tmp_path / "run")
    assert enlarge(pipe, torch.zeros(2, 1, 4, 4), [3, 4], seeds=[0, 1], **QUIET).images.shape == (2, 1, 8, 8)


def test_a_class_without_held_out_images_is_shown_by_training_images():
    train, held = (digits(split) for split in ("train", "test"))
    some = held.labels != 3
    held = ArrayData(held.images[some], held.labels[some], held.classes, layout="channels_first")
    found = _small_of(held, train)
    assert [of for of, _ in found] == [train if label == 3 else held for label in range(10)]
    for label, (of, places) in enumerate(found):
        assert of.labels[places].tolist() == [label] * len(places)
        assert places
    unet = tiny_unet(image_size=(8, 8), small_size=(4, 4), small_noise=0.2, num_classes=10)
    large = DiffusionPipeline(spread(unet), num_timesteps=20)
    out = _enlarge_shown(large, held, found, 4, [2, 3], seeds=[2, 3], **QUIET)
    first, second = (of.load(places[seed % len(places)]) for seed, (of, places) in zip((2, 3), found[2:4], strict=True))
    small = shrunken(torch.stack([first, second]), (4, 4))
    assert torch.equal(out.images, enlarge(large, small, [2, 3], augmentation=0.0, seeds=[2, 3], **QUIET).images)
    with pytest.raises(UserError, match=r"images of every class, got none of '3', held out or trained on; add"):
        _small_of(held, held)


def test_the_planned_cost_counts_what_the_network_sees():
    run = diffusion_run("shapes-super-32")
    with torch.device("meta"):
        plain, super_resolution = UNet(diffusion_run("shapes-32").unet), UNet(run.unet)
    stem = 3 * 24 * 9 * 32 * 32 * 2  # of the three channels more, forward and for the weights' gradient
    found = unet_cost(super_resolution, run).flops - unet_cost(plain, diffusion_run("shapes-32")).flops
    assert stem <= found <= 3 * stem
