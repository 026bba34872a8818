"""Operations of a training, which do not depend on the machine as seconds do."""

from torch.utils.flop_counter import FlopCounterMode

from var.data.base import ImageData
from var.data.batches import batches
from var.randomness import keyed_generator
from var.training import Task, TrainingConfig
from var.training.optimization import optimizer_flops


def training_flops(task: Task, data: ImageData, config: TrainingConfig) -> int:
    """Operations of all steps: products and convolutions of a forward and backward pass and of the optimiser.

    A multiplication and an addition are two. The pass leaves gradients and moved buffers behind in `task.model`: give
    one that is not needed afterwards.
    """
    batch = next(iter(batches(data, config.batch_size, seed=0)))
    device = next(task.model.parameters()).device
    with FlopCounterMode(display=False) as counter:
        loss, _ = task.loss(task.model.train(), batch.to(device), keyed_generator("flops", device=device))
        loss.backward()
    return (counter.get_total_flops() + optimizer_flops(task.model, config)) * config.steps
