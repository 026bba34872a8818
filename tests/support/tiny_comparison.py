"""`scripts/compare.py` with one comparison more, "tiny": the quick one of the digits in a tenth of its steps."""

import sys
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2] / "scripts"))

    import compare
    from comparison import sampling
    from comparison.settings import COMPARISONS, shortened

    def tiny():
        quick = COMPARISONS["digits"][True]()
        headline = replace(quick.diffusion_headline, num_inference_steps=12)
        return replace(
            quick,
            tokenizer=shortened(quick.tokenizer, 20),
            transformer=shortened(quick.transformer, 20),
            diffusion=shortened(quick.diffusion, 20),
            judge_steps=60,
            generation_seeds=2,
            diffusion_headline=headline,
            # Beside DDIM, another sampler: what the report is shown need not be one of a kind.
            diffusion_sweep=(replace(headline, sampler="ddpm", num_inference_steps=5),),
            timing_images=4,
            timing_repeats=1,
        )

    sampling.WARM_UP_SECONDS = 0.1
    COMPARISONS["tiny"] = (tiny, tiny)
    sys.exit(compare.main())
