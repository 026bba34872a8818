"""LoRA on a pipeline, by the names that the field has for it."""

from pathlib import Path
from typing import ClassVar, Unpack

from torch import Tensor, nn

from var.checks import argument
from var.errors import UserError
from var.hub.layout import LORA_CONFIG, LORA_WEIGHTS
from var.hub.lora import Lora, found_in, read_lora, restore, taken_out
from var.hub.pipelines import PretrainedPipeline
from var.hub.remote import Source, find_snapshot
from var.hub.wrappers import unwrapped
from var.keywords import known_keywords
from var.paths import expanded


class Adaptable(PretrainedPipeline):
    """A pipeline with one part that takes a LoRA: low-rank matrices whose product is added to weights of its layers.

    What is loaded is merged into the weights, so that all else works as without, and what these were is kept until it
    is unloaded or fused. What `peft` has put into the part, in training, is saved and fused from there.
    """

    adapted: ClassVar[str]
    """The name of the part."""
    _lora: tuple[Lora, dict[str, Tensor]] | None = None  # what is loaded, and the weights of before

    @known_keywords
    def load_lora_weights(self, path_or_id: Path | str, *, scale: float = 1.0, **source: Unpack[Source]) -> None:
        """Merge the LoRA in a folder or on the Hub, as `peft` saves it, into the weights, `scale` times.

        Raises `UserError` for one of another model, of another kind than plain matrices of one rank, damaged or not
        finite, and where there is one already.
        """
        argument("scale", scale, float)
        model = self._adapted_model()
        if self._lora is not None or found_in(model) is not None:
            raise UserError(f"the {self.adapted} has a LoRA; call fuse_lora() to keep it, or unload_lora_weights()")
        files = (LORA_CONFIG, LORA_WEIGHTS)
        lora = read_lora(find_snapshot(path_or_id, files, files, f"must hold {LORA_CONFIG}", **source), model)
        self._lora = lora, lora.merge(model, scale)

    @known_keywords
    def save_lora_weights(self, directory: Path | str) -> None:
        """Write the LoRA that was loaded, or trained by `peft` inside of the model, as `peft` does."""
        lora = self._lora[0] if self._lora else found_in(self._adapted_model())
        self._some(lora).save(expanded(directory))

    def fuse_lora(self) -> None:
        """Make the LoRA part of the weights for good: one that is loaded cannot be unloaded any more."""
        model = self._adapted_model()
        if self._lora is None:
            self._some(taken_out(model)).merge(model, 1.0)
        self._lora = None

    def unload_lora_weights(self) -> None:
        """Take the LoRA away: the weights are bit for bit what they were."""
        model = self._adapted_model()
        if self._lora is None:
            self._some(taken_out(model))
        else:
            restore(model, self._lora[1])
        self._lora = None

    def _adapted_model(self) -> nn.Module:
        return unwrapped(getattr(self, self.adapted))

    def _some(self, lora: Lora | None) -> Lora:
        if lora is None:
            raise UserError(
                f"there must be a LoRA, got a {self.adapted} without; call load_lora_weights, or train one with peft"
            )
        return lora
