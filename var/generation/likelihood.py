"""How probable a model finds images, by their tokens; and the classes of images by Bayes' rule."""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from var import checks
from var.conditions import Condition
from var.errors import UserError, chosen
from var.eval_mode import eval_mode
from var.generation.encoding import encoded
from var.generation.stages import StagedPipeline
from var.names import received
from var.sampling import labels
from var.sampling.editing import GivenImages, given_images
from var.sampling.finite import check_finite
from var.sampling.labels import ClassLabels
from var.sampling.numbers import plain
from var.sampling.prompts import Prompt
from var.sampling.vectors import Vectors
from var.tokenizer import Tokenizer
from var.transformer.model import VAR

UNITS = {"nats": 1.0, "bits": math.log(2)}
"""In nats."""

MOST_LOGITS = 2**26
"""Of the rows that go through the transformer together: 256 MB."""

Prior = Sequence[float] | np.ndarray | Tensor | None
"""A probability for each class; None where all are equally probable."""


class Likelihoods(StagedPipeline):
    """The part of a pipeline that tells how probable images are."""

    @torch.inference_mode(False)
    @torch.no_grad()
    def log_likelihood(
        self,
        images: GivenImages,
        class_labels: ClassLabels = None,
        *,
        prompt: Prompt = None,
        vectors: Vectors = None,
        per_scale: bool = False,
        unit: str = "nats",
    ) -> Float[Tensor, "batch *scales"]:
        """Log-probability in nats of each image's tokens, given what it shows or (None) without.

        With `per_scale` that of each token map given the coarser ones, (batch, K), whose sum it is; `unit` may be
        "bits". Images are given as for `edit`, see `given_images`. It is exact for the tokens, and a bound on nothing
        but them: the tokenizer's loss is not in it. Raises `UserError` for what makes no sense.
        """
        if labels.asks_for_random(class_labels, self.class_names):
            raise UserError(
                f"a likelihood is that of given labels, got class_labels={received(class_labels)}; pass numbers"
            )
        nats = chosen(unit, UNITS, "unit")
        vqvae, transformer = _alone(self)
        checks.argument("per_scale", per_scale, bool)
        images = _read(images, vqvae)
        condition = self._condition(class_labels, prompt, vectors, len(images), [0] * len(images))
        token_maps = encoded(vqvae, images)
        found = _by_scale(transformer, condition, vqvae.inputs(token_maps), transformer.scales.flatten(token_maps))
        return (found if per_scale else found.sum(1)) / nats

    @torch.inference_mode(False)
    @torch.no_grad()
    def classify(self, images: GivenImages, *, prior: Prior = None) -> Float[Tensor, "batch classes"]:
        """Log posterior of all classes by Bayes' rule, log p(tokens | class) + log p(class), normalised.

        Images are given as for `edit`, and encoded once; `prior` holds the probabilities of the classes, by default all
        equal. Memory is that of a few passes, however many images there are. Raises `UserError` for what makes no
        sense, and for a model of other conditions than classes.
        """
        vqvae, transformer = _alone(self)
        config = transformer.config
        if not config.num_classes or config.vector_width or config.sequence_width:
            raise UserError(
                "images are classified by a model of class labels alone, got one of other conditions; compare what "
                "log_likelihood gives"
            )
        log_prior = _log_prior(prior, config.num_classes).to(self.device)
        images = _read(images, vqvae)
        token_maps = encoded(vqvae, images)
        inputs, tokens = vqvae.inputs(token_maps), transformer.scales.flatten(token_maps)
        joint = []
        for label in range(config.num_classes):
            condition = Condition.of(torch.full((len(images),), label))
            joint.append(_by_scale(transformer, condition, inputs, tokens).sum(1))
        return (torch.stack(joint, dim=1) + log_prior).log_softmax(dim=1)


def _read(images: GivenImages, tokenizer: Tokenizer) -> Float64[Tensor, "batch c h w"]:
    config, rule = tokenizer.config, "a likelihood is that of at least one image"
    return given_images(images, channels=config.in_channels, size=config.image_size, rule=rule)


def _alone(pipeline: StagedPipeline) -> tuple[Tokenizer, VAR]:
    """The models of a pipeline; raises `UserError` where there are two that take turns."""
    if pipeline.finer is not None:
        raise UserError("a likelihood is that of one transformer, got a pipeline of two; ask the large one's")
    return pipeline._models()


def _by_scale(
    model: VAR,
    condition: Condition,
    inputs: Float[Tensor, "batch rest width"],
    tokens: Int64[Tensor, "batch length"],
) -> Float[Tensor, "batch scales"]:
    """Log-probabilities in nats of all token maps given the coarser ones, by one teacher-forced pass a row."""
    rows = max(MOST_LOGITS // (model.scales.length * model.config.vocabulary), 1)
    found = []
    with eval_mode(model):
        for start in range(0, len(tokens), rows):
            some = slice(start, start + rows)
            logits = model(condition[some].to(tokens.device), inputs[some], tokens[some])
            check_finite(logits, "a likelihood needs finite logits", "look at the model's weights")
            nats = -F.cross_entropy(logits.mT.float(), tokens[some], reduction="none")
            found.append(torch.stack([nats[:, where].sum(1) for where in model.scales.slices()], dim=1))
    return torch.cat(found)


def _log_prior(prior: Prior, classes: int) -> Float[Tensor, " classes"]:
    """Logarithms of a prior; raises `UserError` for what is none."""
    if prior is None:
        return torch.zeros(classes)
    values = checks.argument("prior", plain(prior, "prior"), tuple[float, ...])
    if len(values) != classes or min(values) < 0 or abs(sum(values) - 1) > 1e-4:
        raise UserError(
            f"prior must be {classes} probabilities with the sum 1, got {len(values)} with the sum {sum(values):.4g} "
            f"from {min(values, default=0):.4g} on; leave it out if all classes are equally probable"
        )
    return torch.tensor(values).log()
