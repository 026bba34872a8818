"""`scripts/compare.py --equal-flops`: what both trainings cost."""

from dataclasses import replace

import pytest
from comparison import matching, settings

from var.runs.cost import training_flops


def test_both_trainings_cost_the_same_operations():
    from diffusion_baseline.task import DiffusionTask
    from var.data.catalog import open_data
    from var.recipes.transformer.task import TransformerTask
    from var.recipes.transformer.token_cache import TokenCache
    from var.recipes.vqvae.task import VQVAETask

    whole = settings.comparison("digits", quick=True)
    first_two = {stage: run for stage, run in whole.models["var"].runs.items() if stage != "decoder"}
    var = replace(whole.models["var"], runs=first_two)  # test_scripts_comparison_decoder.py has the third
    before = replace(whole, models=whole.models | {"var": var})
    plan = matching.equal_flops(before)
    assert (plan.models["var"], plan.judge) == (before.models["var"], before.judge)
    data = open_data("digits", split="train")

    def diffusion_cost(one):
        run = one.models["diffusion"].runs["diffusion"]
        task = DiffusionTask(run.pipeline(data.classes, seed=0), label_drop=run.label_drop)
        return training_flops(task, data, run.training)

    tokenizer, second = plan.models["var"].runs.values()
    vqvae = tokenizer.model()
    cache = TokenCache.of(data, vqvae, variants=1, temperature=0.0, seed=1, progress=False)
    transformer = TransformerTask(second.model(), vqvae, label_drop=0.1, cache=cache)
    wanted = training_flops(transformer, data, second.training)
    wanted += training_flops(VQVAETask(tokenizer.model()), data, tokenizer.training)
    assert diffusion_cost(plan) == pytest.approx(wanted, rel=0.02)
    assert diffusion_cost(before) > 1.5 * wanted
    assert plan.settings()["equal"] == "training FLOPs"
    assert before.settings()["equal"] != plan.settings()["equal"]
