"""Saving, loading and publishing any model that has a config, and pipelines made of such models.

A model is a folder with `config.json` (its class and the fields of its config) and `model.safetensors`, or several
`model-00001-of-00003.safetensors` with `model.safetensors.index.json`, which says what lies where. A pipeline is a
folder with `pipeline_index.json` and one such folder for each part. Loading is strict, runs no code from files, and
copies nothing before names, shapes and kinds of all tensors have been compared.

Names are loaded when they are first used: commands look at `var.hub.remote` before torch is needed.
"""

from typing import TYPE_CHECKING

from var.lazy import lazy_names

if TYPE_CHECKING:
    from var.configs import config_from_dict as config_from_dict
    from var.configs import config_to_dict as config_to_dict
    from var.hub.cards import ModelCard as ModelCard
    from var.hub.layout import CONFIG as CONFIG
    from var.hub.layout import PIPELINE_INDEX as PIPELINE_INDEX
    from var.hub.models import PretrainedModel as PretrainedModel
    from var.hub.models import load_model as load_model
    from var.hub.models import save_model as save_model
    from var.hub.pipelines import PretrainedPipeline as PretrainedPipeline
    from var.hub.pipelines import load_pipeline as load_pipeline
    from var.hub.pipelines import save_pipeline as save_pipeline

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "var.configs": "config_from_dict config_to_dict",
        "var.hub.cards": "ModelCard",
        "var.hub.layout": "CONFIG PIPELINE_INDEX",
        "var.hub.models": "PretrainedModel load_model save_model",
        "var.hub.pipelines": "PretrainedPipeline load_pipeline save_pipeline",
    },
)
