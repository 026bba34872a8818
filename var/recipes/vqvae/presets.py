"""The tokenizers as a table.

| preset | trained here | hyperparameters |
|---|---|---|
| digits, shapes-32 | yes, on a CPU; docs/results.md has the results | found here |
| shapes-text-32 | yes, on a CPU; 33.4 dB | found here |
| emoji-32 | yes, three seeds: 24.4 dB on test emoji, all codes used; docs/results/emoji.md has the results | found here |
| emoji-64 | yes, on a CPU, one seed: 25.7 dB on held-out emoji, all codes used | those of emoji-32, for larger images |
| cifar-32, imagenet-64 | no | those of imagenet-256, for smaller images |
| imagenet-256, imagenet-512 | no | model: published (arXiv 2404.02905); training: the recipe of LlamaGen (arXiv 2406.06525), since the authors of VAR published none; 512 is the model of 256 with other sides |
"""  # noqa: E501 (a row of a table)

from dataclasses import replace

from var.errors import chosen
from var.recipes.vqvae.losses import VQVAELosses
from var.recipes.vqvae.settings import VQVAERun
from var.runs.settings import CheckpointSettings, DataSettings, EvaluationSettings
from var.training import TrainingConfig
from var.vqvae import VQVAEConfig

IMAGENET, CIFAR = 1_281_167, 50_000
"""Training images of ImageNet-1k and of CIFAR-10."""

SIDES_256 = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
SIDES_512 = (1, 2, 3, 4, 6, 9, 13, 18, 24, 32)
SIDES_64 = (1, 2, 3, 4, 5, 6, 8)
SIDES_CIFAR = (1, 2, 3, 4, 6, 8)
SIDES_32 = (1, 2, 4, 8)
SIDES_EMOJI_32 = (1, 2, 3, 4, 6, (6, 8), 8)
SIDES_EMOJI_64 = (1, 2, 3, 4, 6, 8, 12, 16)

# Tokens of one map are drawn independently of each other, so that many small maps pay, and coarse ones that agree with
# each other before any map of several tokens is drawn. With four maps of 2x2 the distance was .056, with one map of one
# token .079, with none .39, of (1, (1, 2), 2, (2, 3), 3, 4) .12 after 1.3 times the training time (128 codes, one seed,
# learnt by heart; see the transformer's preset).
SIDES_DIGITS, REPEATS_DIGITS = (1, 2), (2, 5)
SIDES_SHAPES_TEXT, REPEATS_SHAPES_TEXT = (1, 8), (5, 1)

# Trained on 1,500 images as they are, 128 codes know them by heart: 27.6 dB, and 23.8 on others. Moved by up to 15 %,
# and with more codes and a map more for what is then to be told, they come back at 25.9 and 25.0 after 900 steps.
_DIGITS = VQVAERun(
    data=DataSettings(affine=0.15),
    vqvae=VQVAEConfig(
        sides=SIDES_DIGITS,
        repeats=REPEATS_DIGITS,
        in_channels=1,
        base_channels=16,
        channel_multipliers=(1, 2, 4),
        residual_blocks=1,
        attention=False,
        norm_groups=8,
        width=8,
        vocabulary=512,
        codebook="ema",
        kmeans_init=True,
        restart_below=0.05,
    ),
    training=TrainingConfig(
        steps=1000,
        batch_size=64,
        optimizer="muon",
        momentum=0.9,
        learning_rate=5e-3,
        weight_decay=0.01,
        clip_norm=1.0,
        ema_decay=0.995,
    ),
    evaluation=EvaluationSettings(every=500),
)

# GroupNorm takes away the level of flat grounds. At the usual commitment of 0.25 the pull towards what the coarse
# maps alone can say cost half a decibel. The codes wait until there are latents to place them on.
_SHAPES_32 = VQVAERun(
    vqvae=replace(
        _DIGITS.vqvae,
        sides=SIDES_32,
        repeats=(),
        in_channels=3,
        norm_groups=0,
        zero_init=True,
        vocabulary=256,
        commitment=0.02,
        codebook_decay=0.95,
        restart_below=0.5,
    ),
    losses=VQVAELosses(quantize_from=100),
    training=replace(_DIGITS.training, steps=1500, batch_size=12, ema_decay=0.99),
    evaluation=EvaluationSettings(every=500),
    checkpoints=CheckpointSettings(every=100),
)

# Five tokens say the ground, the median of all patches; a patch is then told by itself, and nine in ten of a ground's
# get the blank code. So tokens say little by chance, and an outline is learnt from what is left: of convolutions and
# means the transformer had to learn 1.8 nats for each token of plain ground.
_SHAPES_TEXT_32 = replace(
    _SHAPES_32,
    vqvae=replace(
        _SHAPES_32.vqvae,
        sides=SIDES_SHAPES_TEXT,
        repeats=REPEATS_SHAPES_TEXT,
        vocabulary=512,
        encoder="patches",
        pooling="median",
        blank=0.006,
        phi_ratio=0.0,
    ),
    training=replace(_SHAPES_32.training, steps=800, batch_size=16),
    evaluation=EvaluationSettings(every=400),
)

# After 450 steps held-out emoji came back at 22.7 dB, at 21.6 dB without the map of 6x8 (130 tokens in place of 178).
# Without that map a network twice as wide gained 0.2 dB at the same CPU time, in bfloat16, in which few CPUs are quick.
_EMOJI_32 = replace(
    _SHAPES_32,
    vqvae=replace(_SHAPES_32.vqvae, sides=SIDES_EMOJI_32, width=16, vocabulary=1024),
    training=replace(_SHAPES_32.training, steps=1600, ema_decay=0.995),
    evaluation=EvaluationSettings(every=800),
)
_EMOJI_64 = replace(_EMOJI_32, vqvae=replace(_EMOJI_32.vqvae, sides=SIDES_EMOJI_64))


def _llamagen(config: VQVAEConfig, *, epochs: int = 40, images: int = IMAGENET) -> VQVAERun:
    """Squared error 1, LPIPS 1, and after 20,000 steps a hinge PatchGAN 0.5; batch 128 at a constant rate."""
    return VQVAERun(
        data=DataSettings(flip=0.5, crop=1.125),
        vqvae=config,
        losses=VQVAELosses(
            perceptual=1.0,
            adversarial=0.5,
            adaptive=False,
            adversarial_start=20_000,
            augmentations=(),
            discriminator_betas=(0.9, 0.95),
            discriminator_weight_decay=0.05,
        ),
        training=TrainingConfig(
            steps=round(epochs * images / 128),
            batch_size=128,
            learning_rate=1e-4,
            warmup=0.0,
            schedule="constant",
            clip_norm=1.0,
            ema_decay=0.9999,
            mixed_precision="bf16",
        ),
        evaluation=EvaluationSettings(every=5000, samples=256),
        checkpoints=CheckpointSettings(every=1000),
    )


_CIFAR_32 = VQVAEConfig(
    sides=SIDES_CIFAR,
    base_channels=64,
    channel_multipliers=(1, 2, 4),
    width=16,
    vocabulary=1024,
    codebook="ema",
    kmeans_init=True,
    restart_below=0.05,
)
_IMAGENET_64 = VQVAEConfig(
    sides=SIDES_64, base_channels=128, channel_multipliers=(1, 2, 2, 4), width=16, vocabulary=2048
)

PRESETS: dict[str, VQVAERun] = {
    "digits": _DIGITS,
    "shapes-32": _SHAPES_32,
    "shapes-text-32": _SHAPES_TEXT_32,
    "emoji-32": _EMOJI_32,
    "emoji-64": _EMOJI_64,
    # No discriminator for images as small as a few of its patches.
    "cifar-32": replace(_llamagen(_CIFAR_32, epochs=200, images=CIFAR), losses=VQVAELosses(perceptual=1.0)),
    "imagenet-64": _llamagen(_IMAGENET_64),
    "imagenet-256": _llamagen(VQVAEConfig()),
    "imagenet-512": _llamagen(VQVAEConfig(sides=SIDES_512)),
}
"""The run of each tokenizer, by its name."""


def vqvae_run(name: str) -> VQVAERun:
    """The run of the preset `name`; raises `UserError` with suggestions for an unknown one."""
    return chosen(name, PRESETS, "tokenizer preset")
