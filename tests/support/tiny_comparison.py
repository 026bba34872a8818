"""`scripts/compare.py` with hardly any training, of tiny networks, and few samples: of the digits, or of other data."""

import contextlib
import os
import signal
import sys
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path

from processes import fork_from_here, run_script

from var.training.checkpoints import CheckpointWriter

SCRIPTS = str(Path(__file__).parents[2] / "scripts")
STEPS = {"tokenizer": 8, "transformer": 8, "decoder": 4, "diffusion": 12}
EVERY = 4  # steps from one checkpoint to the next


def tiny(plan):
    """The comparison, made tiny."""
    models = {key: tiny_model(model) for key, model in plan.models.items()}
    few = {"judge_steps": 10, "generation_seeds": 2, "timing_images": 4, "timing_repeats": 1, "most_samples": 60}
    judges = {name: replace(getattr(plan, name), widths=(8, 16, 16, 16)) for name in ("judge", "second_judge")}
    return replace(plan, models=models, per_class=20 if plan.per_class else None, **few, **judges)


def tiny_model(model):
    """A model's plan with tiny networks; beside DDIM there is another sampler, since they need not be of a kind."""
    from diffusion_baseline.sampling_settings import SamplingSettings

    headline, others = model.headline, model.sweep[:1]
    if isinstance(headline, SamplingSettings):
        headline = replace(headline, num_inference_steps=4)
        others = (replace(headline, sampler="ddpm", num_inference_steps=3),)
    runs = {name: tiny_run(name, run) for name, run in model.runs.items()}
    return replace(model, runs=runs, headline=headline, sweep=others, grid=(headline, *others))


def tiny_run(name, run):
    """A run of a tiny network, with a checkpoint every few steps."""
    from comparison.contenders import shortened

    if name == "tokenizer":
        run = replace(run, vqvae=replace(run.vqvae, base_channels=8, residual_blocks=1))
    elif name == "transformer":
        tokens = replace(run.tokens, variants=1)
        run = replace(run, tokens=tokens, transformer=replace(run.transformer, depth=1, width=32, heads=2))
    elif name == "decoder":
        run = replace(run, losses=replace(run.losses, patch_channels=4))
    else:
        unet = replace(run.unet, base_channels=8, head_width=8, embedding_width=16, norm_groups=4, residual_blocks=1)
        run = replace(run, unet=unet)
    run = replace(run, training=replace(run.training, batch_size=16))
    return replace(shortened(run, STEPS[name]), checkpoints=replace(run.checkpoints, every=EVERY))


def patch(set_attribute):
    """Let the comparison be tiny, by `set_attribute(object, name, value)`."""
    from comparison import settings, trained
    from comparison.contenders import CONTENDERS

    usual = settings.judged

    def judged(*arguments, **changes):
        return tiny(usual(*arguments, **changes))

    for module in (settings, trained):
        set_attribute(module, "judged", judged)
    for contender in CONTENDERS.values():
        set_attribute(contender, "around", lambda sampling: ())


def look_at_few(set_attribute):
    """Let few real images be kept in memory, to judge by, and fewer of them be looked at for copies."""
    from comparison import data

    set_attribute(data, "MOST_REFERENCE", 300)
    set_attribute(data, "MOST_NUMBERS", 300 * 8 * 8)


def serially(jobs, place, before=None):
    """`carry_out` in this process, one job after the other."""
    waiting, done = list(jobs), dict(before or {})
    while waiting:
        job = next(job for job in waiting if done.keys() >= set(job.needs))
        waiting.remove(job)
        done[job.name] = job.work(place, *(done[name] for name in job.needs), *job.arguments, line=0)
    return done


def main(arguments=None):
    """The exit code of the script, tiny."""
    sys.path.append(SCRIPTS)
    import compare

    patch(setattr)
    look_at_few(setattr)
    return compare.main(arguments)


def forked(output, *arguments, killed=False, server=False):
    """The same in a process that has imported torch, and its own processes from it; the table goes to `output`.

    All of them can be killed as soon as a training has written a checkpoint. With a `server` its own processes are
    forked from that of users instead, which imports what they need.
    """
    os.setsid()
    if killed:
        _kill_after(CheckpointWriter, "finish")
    if not server:
        fork_from_here()
    with open(output, "w") as file, contextlib.redirect_stdout(file):
        sys.exit(main(arguments))


def _kill_after(owner, name):
    real = getattr(owner, name)

    def last(*arguments, **named):
        real(*arguments, **named)
        os.killpg(0, signal.SIGKILL)

    setattr(owner, name, last)


def as_script(path, *arguments):
    """What `run_script` does; nothing is imported for processes that this comparison comes not to start."""
    forkserver.ensure_running = lambda: None
    run_script(path, *arguments)
