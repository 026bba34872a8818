"""Processes that save models, to be killed while they do."""

import torch
from tiny_models import Other, Pair, Tiny, TinyConfig


def pair(value, width=64):
    """A pipeline whose weights are all `value`."""
    made = Pair(first=Tiny(TinyConfig(width=width)), second=Other(TinyConfig(width=width)), steps=int(value))
    with torch.no_grad():
        for part in (made.first, made.second):
            for parameter in part.parameters():
                parameter.fill_(value)
    return made


def value_of(made):
    """The value of all weights of a pipeline, which must be one, and that of its settings."""
    tensors = [*made.first.parameters(), *made.second.parameters()]
    values = {float(number) for tensor in tensors for number in tensor.detach().flatten()}
    assert values == {float(made.steps)}
    return made.steps


def save_on_and_on(folder):
    """Save pipelines over each other without end."""
    for value in range(10**6):
        pair(value).save_pretrained(folder, max_shard_size=8000)
        if value == 1:
            print("saving", flush=True)
