"""Equal training: as many operations for diffusion as for VAR, whatever the seconds of this machine."""

from dataclasses import replace

from comparison.settings import Comparison, shortened
from diffusion_baseline.task import DiffusionTask
from var.data.catalog import open_data
from var.recipes.transformer.task import TransformerTask
from var.recipes.transformer.token_cache import TokenCache
from var.recipes.vqvae.task import VQVAETask
from var.runs.cost import training_flops


def equal_flops(plan: Comparison) -> Comparison:
    """The same comparison, with the steps of diffusion that cost as much as VAR's tokenizer and transformer together.

    Operations do not depend on weights, so that models are built for counting only.
    """
    first, second, diffusion = plan.tokenizer, plan.transformer, plan.diffusion
    data = open_data(plan.data, split="train")
    vqvae = first.model()
    cache = TokenCache.of(data, vqvae, variants=1, temperature=0.0, seed=0, progress=False)
    transformer = TransformerTask(second.model(), vqvae, label_drop=second.label_drop, cache=cache)
    wanted = training_flops(transformer, data, second.training)
    wanted += training_flops(VQVAETask(first.model()), data, first.training)
    pipeline = diffusion.pipeline(data.classes)
    spent = training_flops(DiffusionTask(pipeline, label_drop=diffusion.label_drop), data, diffusion.training)
    steps = max(1, round(diffusion.training.steps * wanted / spent))
    return replace(plan, diffusion=shortened(diffusion, steps), equal="training FLOPs")
