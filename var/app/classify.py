"""What the model says of a picture: its class by Bayes' rule, bits per scale, and where it is surprised."""

import math

import gradio as gr
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from var.app.controls import prompt_of
from var.app.generate import Made
from var.app.given import Given
from var.app.models import Models
from var.app.tokens import SIDE
from var.conditions import Condition
from var.evaluation.report.html import Html, element
from var.evaluation.report.scrubbing import Reel, scrubber
from var.images import Signed, to_pil

HINT = (
    "A model that tells how probable an image is can be asked what it shows: p(class | image) is p(image | class) by "
    "Bayes' rule. Bits are those of the tokens, given the likeliest class, or the prompt of a model of texts."
)


def tab(models: Models, made: Made) -> None:
    """Build the tab."""
    model = models.var
    gr.Markdown(HINT)
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            given = Given.buttons()
            words = prompt_of(model)
            posterior = gr.Label(label="Class", num_top_classes=5, visible=model.text_encoder is None)
        with gr.Column(scale=2, min_width=260):
            surprise = gr.HTML(elem_classes="process", apply_default_css=False)
            bits = gr.HTML(apply_default_css=False)

    def classified(images: Tensor, prompt: str | None):
        pipeline, label, shares = model.pipeline, None, None
        if model.text_encoder is None:
            log_posterior = pipeline.classify(Signed(images))[0].cpu()
            label = [int(log_posterior.argmax())]
            names = [f"{place} {name}".strip() for place, name in enumerate(model.names)]
            shares = dict(zip(_distinct(model.names, names), log_posterior.exp().tolist(), strict=True))
        condition = pipeline._condition(label, (prompt or "").strip() or None, None, 1, [0])
        per_token = token_bits(pipeline, images, condition)
        return shares, _surprise(pipeline, images, per_token), _bars(pipeline, per_token)

    how = {"inputs": [words], "show_progress_on": surprise, "concurrency_id": "model"}
    given.then(classified, [posterior, surprise, bits], models, made, **how)


def _distinct(names, numbered) -> list[str]:
    """The names of the classes, with their numbers where two have the same."""
    return list(names) if len(set(names)) == len(names) else list(numbered)


@torch.no_grad()
def token_bits(pipeline, images: Tensor, condition: Condition) -> list[Tensor]:
    """Bits of each token of an image given those drawn before it and what it shows, as maps (h, w), coarse to fine."""
    vqvae, transformer = pipeline.vqvae, pipeline.transformer
    maps = vqvae.encode(images.to(pipeline.device, vqvae.codes(0).dtype))
    tokens = transformer.scales.flatten(maps)
    logits = transformer(condition.to(pipeline.device), vqvae.inputs(maps), tokens).float()
    bits = F.cross_entropy(logits.mT, tokens, reduction="none")[0] / math.log(2)
    return [
        bits[where].view(each.shape[1:]).cpu() for where, each in zip(transformer.scales.slices(), maps, strict=True)
    ]


def _surprise(pipeline, images: Tensor, per_token: list[Tensor]) -> Html:
    """The picture as its tokens tell it, and the bits of each, scale by scale."""
    vqvae = pipeline.vqvae
    with torch.no_grad():
        maps = vqvae.encode(images.to(pipeline.device, vqvae.codes(0).dtype))
        stages = torch.cat([vqvae.decode_latent(each) for each in vqvae.accumulate(maps)])
    names = [f"{height}x{width}" for height, width in vqvae.scales.shapes]
    told = [f"{name}: {float(each.sum()):.0f} bits" for name, each in zip(names, per_token, strict=True)]
    most = math.log2(vqvae.config.vocabulary)
    decoded = [each.convert("RGB") for each in to_pil(stages.float().cpu())]
    given = [to_pil(images)[0].convert("RGB")] * len(names)
    reels = [
        Reel(title="Picture", stages=given, names=[""] * len(names)),
        Reel(title="Its tokens", stages=decoded, names=names),
        Reel(title="Surprise", stages=[heat(each / most, images.shape[-2:]) for each in per_token], names=told),
    ]
    return scrubber(reels, "Scale, from the coarsest to the finest")


def heat(values: Tensor, size: torch.Size | tuple[int, int]) -> Image.Image:
    """Values as colours, from white at 0 to dark red at 1 and above."""
    share = values.clamp(0, 1.2).double().numpy()[..., None] / 1.2
    colours = np.where(share < 0.5, 255 + (np.array([245, 150, 60]) - 255) * 2 * share, 0)
    dark = np.array([245, 150, 60]) + (np.array([110, 0, 30]) - np.array([245, 150, 60])) * (2 * share - 1)
    colours = np.where(share < 0.5, colours, dark).round().astype(np.uint8)
    larger = max(1, SIDE / max(size))
    shape = round(size[1] * larger), round(size[0] * larger)
    return Image.fromarray(colours).resize(shape, Image.Resampling.NEAREST)


def _bars(pipeline, per_token: list[Tensor]) -> Html:
    """Bits of each scale, and of each token of it, as a table with bars."""
    scales, bits = pipeline.vqvae.scales, [float(each.sum()) for each in per_token]
    most = max(*bits, 1e-9)
    rows = [element("tr", *(element("th", each) for each in ("Scale", "Bits", "Bits per token", "")))]
    for (height, width), each in zip(scales.shapes, bits, strict=True):
        bar = element("div", class_="bar", style=f"width:{100 * max(each, 0) / most:.1f}%")
        cells = [f"{height}x{width}", f"{each:.1f}", f"{each / (height * width):.2f}", bar]
        rows.append(element("tr", *(element("td", cell) for cell in cells)))
    rows.append(element("tr", *(element("td", cell) for cell in ("all", f"{sum(bits):.0f}", "", ""))))
    return element("table", element("tbody", *rows), class_="numbers bars")
