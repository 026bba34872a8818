"""The transformer as generation runs it: the same arithmetic as its modules, in a third of the operators.

What depends on the weights alone is prepared once and kept between calls; what depends on the condition alone is
computed once per call; keys and values lie in storage that a call allocates once. The teacher-forced pass of the
modules is the truth that this is tested against.
"""

import threading
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from var.conditions import Condition, guided
from var.generation.cache import KVCache
from var.generation.drawing import Drawn
from var.generation.graphs import record
from var.generation.layer import Layer
from var.generation.projection import Projection, computing_type
from var.generation.replaced import check_copied, check_replaced
from var.generation.sources import Sources
from var.tokenizer import Tokenizer
from var.transformer.blocks import KeysValues, attend
from var.transformer.model import VAR, Conditioning


class Engine:
    """What generation prepares of one pair of models, while it `fits` them.

    The residual stream, the latents and the logits are float32; matrices are multiplied in the `computing_type` of the
    weights, of which copies are kept where it is not the weights' own. `pack` copies the weights into the CPU's order.
    `graphs` records the kernels of every scale as a CUDA graph; the pass of one batch size is then kept for the next
    call, because recorded kernels read what lies at its addresses.
    """

    def __init__(self, tokenizer: Tokenizer, model: VAR, *, pack: bool = False, graphs: bool = False) -> None:
        self.config, self.model, self.graphs = model.config, model, graphs
        self.tokenizer = tokenizer
        self.places = list(model.scales.slices())
        check_replaced(model)
        weight = model.head.weight
        self.dtype = computing_type(weight.dtype, weight.device)
        # Attention in bfloat16 is slower than in float32 on CPUs, on GPUs much faster.
        self.attention_type = torch.float32 if weight.device.type == "cpu" else self.dtype
        activation = model.config.activation
        self.layers = [Layer.of(block, activation, self.dtype, pack=pack) for block in model.blocks]  # pyright: ignore[reportArgumentType]
        self.head = Projection.of(model.head.weight, model.head.bias, self.dtype, pack=pack)
        embedding = model.token_projection
        self.embedding = Projection.of(embedding.weight, embedding.bias, torch.float32)
        self.place = model.place(slice(0, len(model.scale_index))).detach().float()
        told = model.told_embedding
        self.told = None if told is None else told.prepared().detached()
        self.passes = [[each.to(weight.device) for each in model.passes.of(n)] for n in range(len(self.places))]
        self.accumulator = tokenizer.accumulator()
        self.shows = any(part is self.accumulator for part in tokenizer.modules())  # the tokenizer's weights themselves
        self.sources = Sources(self._sources(), self._held())
        self.kept: EnginePass | None = None
        self._lock = threading.Lock()

    def fits(self, tokenizer: Tokenizer, model: VAR) -> bool:
        """Whether the engine was prepared from these models and their weights as they now are.

        What it refers to is compared by place, what it copied by contents: see `Sources`. Raises `UserError` as
        `check_replaced` does.
        """
        check_replaced(model)
        if tokenizer is not self.tokenizer or model is not self.model:
            return False
        if self.shows and tokenizer.accumulator() is not self.accumulator:
            return False
        return self.sources.are(self._sources())

    def _sources(self) -> list[Tensor]:
        """The weights that a prepared tensor refers to or was computed from, as the models now have them."""
        model = self.model
        found: list[Any] = [model.position, model.scale_embedding.weight, model.scale_index]
        told = model.told_embedding
        found += [] if told is None else (*told.parameters(), *told.buffers())
        for linear in self._linears():
            found += (linear.weight, linear.bias)
        for block in model.blocks:
            attention: Any = block.attention
            found += (attention.q_bias, attention.v_bias, attention.log_scale)
        if not self.shows:
            part = self.tokenizer.accumulating()
            check_copied(part)
            found += (*part.parameters(), *part.buffers())
        return [tensor for tensor in found if tensor is not None]

    def _linears(self) -> Iterator[Any]:
        """The layers that are multiplied by `Projection`."""
        yield from (self.model.head, self.model.token_projection)
        for block in self.model.blocks:
            attention, cross, mlp = block.attention, block.cross, block.mlp
            yield from (attention.qkv, attention.projection, mlp.fc1, mlp.fc2)  # pyright: ignore[reportAttributeAccessIssue]
            if cross is not None:
                yield from (cross.query, cross.projection)  # pyright: ignore[reportAttributeAccessIssue]

    def _held(self) -> Iterator[Tensor]:
        """The tensors of which weights can be shown as they are."""
        layers = chain.from_iterable(layer.projections() for layer in self.layers)
        for projection in (self.head, self.embedding, *layers):
            yield from projection.tensors()

    def tell(self, scale: int, drawn: Drawn) -> Float[Tensor, "batch new width"]:
        """What a pass of the map of `scale` is told of the tokens that were drawn in it."""
        assert self.told is not None
        number, passes, where = len(drawn), self.passes[scale], self.places[scale]
        known = drawn[0].new_full((len(drawn[0]), where.stop - where.start), -1)
        known[:, torch.cat(passes[:number])] = torch.cat(list(drawn), dim=1)
        told = self.model.told[where][passes[number]] - where.start
        return self.told(torch.where(told >= 0, known[:, told.clamp_min(0)], -1))

    def begin(self, condition: Condition, *, guide: bool) -> "EnginePass":
        """Compute what the condition contributes (AdaLN, once per call), and make room for keys and values."""
        if guide:
            condition = condition.with_null()
        constants = _constants(self.model.conditioning(condition), self.attention_type)
        with self._lock:  # whoever takes the pass that was kept has it alone, until it is done
            kept, self.kept = self.kept, None
        if kept is not None and kept.renew(constants, guide=guide):
            return kept
        del kept  # frees the old one first
        return EnginePass(self, constants, guide=guide)


class Constants(NamedTuple):
    """What the condition contributes to a call, as the engine computes with it."""

    start: Float[Tensor, "rows first width"]
    modulation: Float[Tensor, "depth 6 rows 1 width"]  # gamma1, gamma2, 1 + scale1, 1 + scale2, shift1, shift2
    head: Float[Tensor, "2 rows 1 width"]  # 1 + scale, shift before the head
    texts: tuple[KeysValues, ...]  # of every layer; none without cross-attention

    def tensors(self) -> list[Tensor]:
        """All of it."""
        return [self.start, self.modulation, self.head, *chain.from_iterable(self.texts)]

    def rows(self, rows: slice | Int64[Tensor, " chosen"]) -> "Constants":
        """Those of some rows, in the same memory if these are a slice."""
        texts = tuple(KeysValues(*(each[rows] for each in text)) for text in self.texts)
        return Constants(self.start[rows], self.modulation[:, :, rows], self.head[:, rows], texts)


class EnginePass:
    """One call of an `Engine`, with the storage that it fills."""

    def __init__(self, engine: Engine, constants: Constants, *, guide: bool) -> None:
        self.engine, self.constants, self.guide = engine, constants, guide
        start = constants.start
        size = len(engine.layers), len(start)
        self.cache = KVCache(engine.config, engine.passes, size, engine.attention_type, start.device)
        self.recorded: dict[tuple[int, int, int], Callable[[Tensor], Tensor]] = {}  # by scale, pass and number of rows

    def renew(self, constants: Constants, *, guide: bool) -> bool:
        """Begin anew at the same addresses; False where there are other numbers of rows or of keys."""
        mine, new = self.constants.tensors(), constants.tensors()
        if [each.shape for each in mine] != [each.shape for each in new]:
            return False
        self.guide = guide
        for kept, renewed in zip(mine, new, strict=True):
            kept.copy_(renewed)
        return True

    def logits(
        self, scale: int, latent: Float[Tensor, "batch width h w"] | None, guidance: float | None, drawn: Drawn = ()
    ) -> Float[Tensor, "batch new vocabulary"]:
        """Logits of the tokens of `scale`, guided where the call is; with None of the half that shows the condition.

        Guidance is linear and so is the head: mixing before it halves its work.
        """
        hidden = self._taken_in(scale, latent, guidance, drawn)
        if self.guide and guidance is not None:
            hidden = guided(hidden, guidance)
        logits = self.engine.head(hidden).float()
        if scale + 1 == len(self.engine.places) and len(drawn) + 1 == len(self.engine.passes[scale]):
            self.release()
        return logits

    def release(self) -> None:
        """The call is done with it: what was recorded for it may serve the next one."""
        if self.engine.graphs:
            self.engine.kept = self

    def remember(
        self, scale: int, latent: Float[Tensor, "batch width h w"] | None, guidance: float | None, drawn: Drawn = ()
    ) -> None:
        """See `Pass`."""
        self._taken_in(scale, latent, guidance, drawn)

    def select(self, rows: Int64[Tensor, " chosen"]) -> "EnginePass":
        """See `Pass`."""
        if self.guide:
            rows = torch.cat((rows, rows + len(self.constants.start) // 2))
        part = EnginePass(self.engine, self.constants.rows(rows), guide=self.guide)
        torch.index_select(self.cache.storage, 2, rows, out=part.cache.storage)
        return part

    def _taken_in(self, scale: int, latent: Tensor | None, guidance: float | None, drawn: Drawn) -> Tensor:
        """What the blocks make of a pass, whose keys and values are kept: (rows, new, width) before the head."""
        rows, number = len(self.constants.start), len(drawn)
        if self.guide and guidance is None:
            rows //= 2
        x = self._embed(scale, latent, drawn, rows)
        place = scale, number, rows
        if not drawn:
            self.cache.advance(scale)
        if self.engine.graphs and place not in self.recorded:
            self.recorded[place] = record(lambda x: self._hidden(scale, number, x), x)
        return self.recorded[place](x) if self.engine.graphs else self._hidden(scale, number, x)

    def _embed(self, scale: int, latent: Tensor | None, drawn: Drawn, rows: int) -> Tensor:
        """Embedded inputs of a pass, (rows, new, width)."""
        engine, start = self.engine, self.constants.start
        if latent is None:
            x = start[:rows]
        else:
            inputs = engine.accumulator.shrink(latent, scale).flatten(2).mT
            x = engine.embedding(inputs) + engine.place[:, engine.places[scale]]
        if len(engine.passes[scale]) > 1:
            positions = engine.passes[scale][len(drawn)]
            x = x[:, positions]
            if drawn:
                told = engine.tell(scale, drawn)
                x = x + told.repeat(len(x) // len(told), 1, 1)
        return x.expand(rows // len(x), *x.shape).flatten(0, 1)

    def _hidden(self, scale: int, number: int, x: Tensor) -> Tensor:
        """The blocks, and the norm before the head: (rows, new, width) float32."""
        cache, constants = self.cache, self.constants
        if len(x) < len(constants.start):
            cache, constants = cache.first(len(x)), constants.rows(slice(len(x)))
        stored, keys, values = cache.views(scale, number)
        for index, layer in enumerate(self.engine.layers):
            gamma1, gamma2, scale1, scale2, shift1, shift2 = constants.modulation[index].unbind()
            hidden = torch.addcmul(shift1, _norm(x), scale1)
            query = self._attended(layer, hidden, stored[index])
            hidden = attend(query, keys[index], values[index], None, layer.fixed_scale)
            hidden = layer.projection(hidden.transpose(1, 2).flatten(2))
            x = torch.addcmul(x, hidden.to(x.dtype), gamma1)
            if layer.cross:
                x = x + self._crossed(layer, _norm(x), constants.texts[index])
            hidden = layer.fc2(layer.fc1(torch.addcmul(shift2, _norm(x), scale2)))
            x = torch.addcmul(x, hidden.to(x.dtype), gamma2)
        head = constants.head
        return torch.addcmul(head[1], _norm(x), head[0])

    def _attended(self, layer: Layer, hidden: Tensor, stored: Tensor) -> Tensor:
        """Queries (rows, heads, new, head width); keys and values go to `stored` (2, rows, heads, new, head width)."""
        engine = self.engine
        qkv = layer.qkv(hidden).to(engine.attention_type).unflatten(-1, (3, engine.config.heads, -1))
        if layer.qk_scale is not None:
            qk = qkv[:, :, :2]
            length = torch.linalg.vector_norm(qk, dim=-1, keepdim=True, dtype=torch.float32)
            qk.mul_((layer.qk_scale / length.clamp_min_(1e-12)).to(qk.dtype))
        stored.copy_(qkv[:, :, 1:].permute(2, 0, 3, 1, 4))
        return qkv[:, :, 0].transpose(1, 2)

    def _crossed(self, layer: Layer, hidden: Tensor, text: KeysValues) -> Tensor:
        """What each position takes from the text, (rows, new, width)."""
        query, projection = layer.cross
        q = query(hidden).to(text.keys.dtype).unflatten(-1, (self.engine.config.heads, -1)).transpose(1, 2)
        hidden = F.scaled_dot_product_attention(q, text.keys, text.values, attn_mask=text.mask)
        return projection(hidden.transpose(1, 2).flatten(2)).to(torch.float32)


def _constants(conditioning: Conditioning, attention_type: torch.dtype) -> Constants:
    """What is in `conditioning` in float32, with 1 added to the scales; keys and values in `attention_type`."""
    blocks = torch.stack([torch.stack(block) for block in conditioning.blocks]).float()
    blocks[:, 2:4] += 1
    head = torch.stack((conditioning.head_scale, conditioning.head_shift)).float()
    head[0] += 1
    texts = tuple(
        KeysValues(text.keys.to(attention_type), text.values.to(attention_type), text.mask)
        for text in conditioning.texts
        if text is not None
    )
    return Constants(conditioning.start.float(), blocks, head, texts)


def _norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)
