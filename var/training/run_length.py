"""A run that goes on to another number of steps than was planned: what that means for its learning rate."""

from dataclasses import replace

from var.errors import UserError
from var.training.optimization import TrainingConfig, learning_rate_factor


def check_length(steps: int, done: int, source: str, *, setting: str = "steps") -> None:
    """Raise `UserError` if `source`, a run or a checkpoint of it, has more than the `steps` that `setting` asks for."""
    if steps < done:
        raise UserError(
            f"a run cannot become shorter than it is, but {source} has {done:,} steps, got {setting}={steps}; "
            f"ask for {done} or more, or give another folder to begin anew"
        )


def length_note(config: TrainingConfig, planned: int, done: int, source: str) -> list[str]:
    """A sentence about a run that was `planned` steps long and goes on after `done` of them, if `config` has others.

    Raises `UserError` if more steps than those of `config` are done; `source` names the checkpoint.
    """
    steps = config.steps
    check_length(steps, done, source)
    if steps == planned:
        return []
    before = replace(config, steps=planned)
    text = f"{source} is of a run of {planned:,} steps, which goes on to {steps:,}"
    past = range(min(done, planned))
    if all(learning_rate_factor(before, step) == learning_rate_factor(config, step) for step in past):
        return [f"{text}: it is the run that was {steps:,} steps long from the start"]
    last, following = learning_rate_factor(before, done - 1), learning_rate_factor(config, min(done, steps - 1))
    return [
        f"{text}: from step {done + 1:,} on the learning rate follows the {config.schedule} schedule of the new length "
        f"({last * config.learning_rate:.3g} in the last step, {following * config.learning_rate:.3g} in the next); "
        f"it is not the run that was {steps:,} steps long from the start"
    ]
