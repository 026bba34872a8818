"""The names of the files that a saved model or pipeline consists of."""

import re

CONFIG = "config.json"
PIPELINE_INDEX = "pipeline_index.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
CARD = "README.md"
RUN_FILE = "run.yaml"  # the settings of a run, in whose folder its model is saved in the end
FINISHED = "finished.json"  # which a run writes last
LORA_CONFIG = "adapter_config.json"  # these two are PEFT's
LORA_WEIGHTS = "adapter_model.safetensors"
MOST_CONFIG = 2**20  # bytes of a config
MOST_INDEX = 2**24  # of a pipeline's index, which may name 100,000 classes
SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")


def shard_name(number: int, count: int) -> str:
    """The file of shard `number`, from 1 to `count`."""
    return f"model-{number:05d}-of-{count:05d}.safetensors"


def is_weights_file(name: str) -> bool:
    """Whether a file of that name belongs to the weights of a saved model."""
    return name in (WEIGHTS, WEIGHTS_INDEX) or SHARD.fullmatch(name) is not None
