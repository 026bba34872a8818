"""The training loop, the same for every task, on the device that accelerate manages."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm.auto import tqdm

from var.data.augment import Augmentation
from var.data.base import ImageData
from var.data.batches import Batch, batches
from var.errors import UserError
from var.randomness import keyed_generator, keyed_global_stream
from var.training.averaging import AveragedWeights
from var.training.journal import Journal
from var.training.optimization import TrainingConfig, build_optimizer, learning_rate_factor
from var.training.task import Task


class NonFiniteLossError(RuntimeError):
    """The loss or its gradient was NaN or infinite; the optimiser did not take that step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What a run leaves besides the weights, which are in the task's model."""

    history: list[dict[str, float]]  # a row every `log_every` steps: step, loss, learning_rate, ... (window means)
    seconds: float  # wall time of the loop


def train(
    task: Task,
    data: ImageData,
    config: TrainingConfig,
    *,
    augment: Augmentation | None = None,
    log: Path | None = None,
    description: str = "train",
    progress: bool = True,
    bar_line: int = 0,
    device: str | None = None,
) -> TrainingResult:
    """Train `task.model` on `data`; at the end it holds the averaged weights (if on) and is in eval mode.

    `log` receives a JSON line every `config.log_every` steps. `device` is "cpu", "cuda", ... or None for accelerate's
    choice. `bar_line` is the terminal line of the progress bar, for runs side by side. Every random draw is keyed, so
    that the result depends on the configuration, the data and the number of processes only. Raises NonFiniteLossError
    before a NaN or infinite step would reach the weights.
    """
    accelerator = _accelerator(device)
    optimizer = build_optimizer(task.model.to(accelerator.device), config)
    model, optimizer = accelerator.prepare(task.model.train(), optimizer)
    average = AveragedWeights(task.model, config.ema_decay) if config.ema_decay else None
    journal = Journal(log if accelerator.is_main_process else None, config.log_every)
    stream = batches(
        data,
        config.batch_size,
        seed=config.seed,
        augment=augment,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    started = time.perf_counter()
    hidden = not (progress and accelerator.is_main_process)
    with tqdm(total=config.steps, desc=description, disable=hidden, position=bar_line) as bar:
        for step, batch in zip(range(config.steps), stream, strict=False):
            rate = config.learning_rate * learning_rate_factor(config, step)
            numbers = _update(task, model, optimizer, batch.to(accelerator.device), step, rate, config, accelerator)
            if average:
                average.update(task.model)
            journal.add(step, numbers, last=step + 1 == config.steps)
            if journal.rows:
                bar.set_postfix(loss=f"{journal.rows[-1]['loss']:.4g}", refresh=False)
            bar.update()
    if average:
        average.copy_to(task.model)
    task.model.eval()
    return TrainingResult(history=journal.rows, seconds=time.perf_counter() - started)


def _update(
    task: Task,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    step: int,
    rate: float,
    config: TrainingConfig,
    accelerator: Accelerator,
) -> dict[str, float | Tensor]:
    """One optimiser step at learning rate `rate`; returns the numbers to log."""
    device = accelerator.device
    key = (config.seed, step, accelerator.process_index)
    with (
        # Dropout and drop path take no generator; keyed here, a resumed run repeats them.
        keyed_global_stream("layers", *key, device=device),
        torch.autocast(device.type, torch.bfloat16, enabled=config.mixed_precision == "bf16"),
    ):
        loss, numbers = task.loss(model, batch, keyed_generator("loss", *key, device=device))
    accelerator.backward(loss)
    norm = torch.as_tensor(accelerator.clip_grad_norm_(task.model.parameters(), config.clip_norm), device=device)
    # DDP averages gradients over ranks, so the norm is non-finite on all of them if it is on one; the loss is not.
    finite = torch.isfinite(loss.detach()) & torch.isfinite(norm)
    share = accelerator.reduce(finite.float(), "mean")
    assert isinstance(share, Tensor)
    if share != 1:
        optimizer.zero_grad()
        raise NonFiniteLossError(
            f"loss {loss.item():g} with gradient norm {float(norm):g} at step {step + 1} of rank "
            f"{accelerator.process_index} (data indices {batch.indices.tolist()}); lower the learning rate or look at "
            "these images"
        )
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
    return {"loss": loss.detach(), "gradient_norm": norm, "learning_rate": rate, **numbers}


def _accelerator(device: str | None) -> Accelerator:
    """Accelerate's view of the processes and the device; it keeps the first device that a process asked for."""
    accelerator = Accelerator(cpu=device == "cpu")
    if device is not None and accelerator.device.type != device.partition(":")[0]:
        raise UserError(
            f"a training run uses the device that accelerate manages, here {accelerator.device.type!r}, "
            f"got {device!r}; leave the device out or start a new process for the other one"
        )
    return accelerator
