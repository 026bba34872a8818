"""Equal training: as many operations for diffusion as for VAR, whatever the seconds of this machine."""

from dataclasses import replace

from comparison.costs import training_flops
from comparison.settings import Comparison
from diffusion_baseline.task import DiffusionTask
from var.data.catalog import open_data
from var.recipes.presets import shortened
from var.recipes.transformer.task import TransformerTask
from var.recipes.transformer.token_cache import TokenCache
from var.recipes.vqvae.task import VQVAETask


def equal_flops(plan: Comparison) -> Comparison:
    """The same comparison, with the steps of diffusion that cost as much as VAR's tokenizer and transformer together.

    Operations do not depend on weights, so that models are built for counting only.
    """
    var, diffusion, data = plan.var, plan.diffusion, open_data(plan.data, split="train")
    vqvae = var.build_vqvae(0)
    cache = TokenCache.of(data, vqvae, variants=1, temperature=0.0, seed=0, progress=False)
    transformer = TransformerTask(var.build_transformer(0), vqvae, label_drop=var.label_drop, cache=cache)
    wanted = training_flops(transformer, data, var.transformer_training)
    wanted += training_flops(VQVAETask(var.build_vqvae(0)), data, var.vqvae_training)
    pipeline = diffusion.pipeline(data.classes, seed=0)
    spent = training_flops(DiffusionTask(pipeline, label_drop=diffusion.label_drop), data, diffusion.training)
    steps = max(1, round(diffusion.training.steps * wanted / spent))
    return replace(
        plan,
        diffusion=replace(diffusion, training=shortened(diffusion.training, steps)),
        equal="training FLOPs",
    )
