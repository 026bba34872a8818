"""`scripts/compare.py` on a hundredth of the training, with few samples: of the digits, or of any other data."""

import sys
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2] / "scripts"))

    import compare
    from comparison import sampling, settings
    from comparison.contenders import CONTENDERS, shortened

    from diffusion_baseline.sampling_settings import SamplingSettings

    STEPS = {"tokenizer": 20, "transformer": 20, "diffusion": 20}
    usual = settings.judged

    def tiny(data, models, **changes):
        plan = usual(data, models, **changes)
        models = {key: replace(each, **fewer(each, key)) for key, each in plan.models.items()}
        return replace(
            plan,
            models=models,
            judge_steps=60,
            per_class=20 if plan.per_class else None,
            most_samples=60,
            generation_seeds=2,
            timing_images=4,
            timing_repeats=1,
        )

    def fewer(plan, key):
        runs = {name: small(shortened(run, STEPS[name])) for name, run in plan.runs.items()}
        headline, others = plan.headline, plan.sweep[:1]
        if isinstance(headline, SamplingSettings):
            headline = replace(headline, num_inference_steps=12)
            # Beside DDIM, another sampler: what the report is shown need not be one of a kind.
            others = (replace(headline, sampler="ddpm", num_inference_steps=5),)
        return {"runs": runs, "headline": headline, "sweep": others, "grid": (headline, *others)}

    def small(run):
        """Smaller batches, and a checkpoint every few steps."""
        batch = replace(run.training, batch_size=min(run.training.batch_size, 16))
        return replace(run, training=batch, checkpoints=replace(run.checkpoints, every=4))

    for contender in CONTENDERS.values():
        contender.around = lambda sampling: ()
    sampling.WARM_UP_SECONDS = 0.1
    settings.judged = tiny
    sys.exit(compare.main())
