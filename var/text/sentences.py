"""The sentence encoder that pip brings, by torch's functions: the library's import takes longer than a first image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from var.devices import check_device
from var.errors import UserError, first_line
from var.foreign.documents import read_json
from var.foreign.weights import read_tensors
from var.linear import linear
from var.text.encoders import TextFeatures
from var.text.pretrained import (
    LONGEST,
    PROBES,
    encoded_in_parts,
    encoder_digest,
    mean_of_pieces,
    of_usual_length,
    recipe_in,
    unfit,
)


class SentenceEncoder:
    """A BERT (Devlin et al., arXiv 1810.04805) whose pieces are averaged, in a `folder`, in float32 on `device`.

    Vectors, sequences and digest are those of `PretrainedTextEncoder` in the same folder, but for what rounding leaves.
    """

    def __init__(self, name: str, folder: Path, *, device: torch.device | str | None = None) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise UserError(
                'this text encoder needs the library tokenizers, which is absent; pip install "next-scale[text]"'
            ) from error
        self.name = name
        if device is not None:
            check_device(device)
        self.device = torch.device(device or "cpu")
        config, recipe = read_json(folder / "config.json"), recipe_in(folder)
        self.width = self.sequence_width = int(config["hidden_size"])
        self._heads, self._epsilon = int(config["num_attention_heads"]), float(config["layer_norm_eps"])
        weights = read_tensors(folder / "model.safetensors")
        self._weights = {n: each.to(self.device) for n, each in weights.items() if each.is_floating_point()}
        try:
            self._cut = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # whatever it makes of the file
            raise unfit(folder, first_line(error)) from error
        self._cut.no_truncation()
        self._cut.no_padding()
        longest = min(recipe.longest or LONGEST, int(config["max_position_embeddings"]))
        vocabulary, probes = self._cut.get_vocab(), [self._cut.encode(text).ids for text in PROBES]
        about = ("BertModel", config, recipe, True, longest)
        self.digest = encoder_digest(about, vocabulary, probes, self._weights)
        self._cut.enable_truncation(longest)
        self._cut.enable_padding(pad_id=int(config["pad_token_id"]))

    @torch.no_grad()
    def __call__(self, texts: Sequence[str], *, sequences: bool = False) -> TextFeatures:
        """The features of `texts`, see `TextEncoder`."""
        return encoded_in_parts(texts, self._encoded, sequences=sequences)

    def _encoded(self, lines: list[str]) -> TextFeatures:
        pieces: list[Any] = self._cut.encode_batch(lines)
        ids = torch.tensor([each.ids for each in pieces], device=self.device)
        mask = torch.tensor([each.attention_mask for each in pieces], device=self.device).bool()
        with torch.autocast(self.device.type, enabled=False):
            rows = self._rows(ids, mask)
        return TextFeatures(of_usual_length(mean_of_pieces(rows, mask)).cpu(), rows.cpu(), mask.cpu())

    def _rows(self, ids: Int64[Tensor, "n length"], mask: Bool[Tensor, "n length"]) -> Float[Tensor, "n length width"]:
        """What the network makes of each piece: embeddings, then blocks whose sums are normalised after them."""
        weights, places = self._weights, torch.arange(ids.shape[1], device=self.device)
        x = F.embedding(ids, weights["embeddings.word_embeddings.weight"])
        x = x + F.embedding(places, weights["embeddings.position_embeddings.weight"])
        x = self._normalised("embeddings", x + weights["embeddings.token_type_embeddings.weight"][0])
        block = 0
        while (place := f"encoder.layer.{block}") + ".output.dense.weight" in weights:
            q, k, v = (
                self._linear(f"{place}.attention.self.{part}", x).unflatten(-1, (self._heads, -1)).transpose(1, 2)
                for part in ("query", "key", "value")
            )
            seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None]).transpose(1, 2).flatten(2)
            attention = f"{place}.attention.output"
            x = self._normalised(attention, x + self._linear(f"{attention}.dense", seen))
            hidden = F.gelu(self._linear(f"{place}.intermediate.dense", x))
            x = self._normalised(f"{place}.output", x + self._linear(f"{place}.output.dense", hidden))
            block += 1
        return x

    def _linear(self, name: str, x: Float[Tensor, "n length _"]) -> Float[Tensor, "n length _out"]:
        return linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _normalised(self, place: str, x: Float[Tensor, "n length width"]) -> Float[Tensor, "n length width"]:
        name = f"{place}.LayerNorm"
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return F.layer_norm(x, x.shape[-1:], weight, bias, self._epsilon)
