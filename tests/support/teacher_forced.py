"""Generation the slow way, which is the truth for the engine: every scale by a whole teacher-forced pass."""

import torch

from var.conditions import guided


class TeacherForced:
    """Logits of scale k are those that `model(shown, inputs)` gives for the inputs of the scales up to k."""

    def __init__(self, vqvae, model):
        self.accumulator, self.model = vqvae.accumulator(), model
        self.passes = [model.passes.of(scale) for scale in range(len(model.scales))]

    def begin(self, condition, *, guide):
        return _Pass(self, condition.with_null() if guide else condition, guide)


class _Pass:
    def __init__(self, forward, shown, guide):
        self.forward, self.shown, self.guide, self.inputs = forward, shown, guide, []
        self.tokens = torch.zeros(len(shown), forward.model.scales.length, dtype=torch.long)

    def logits(self, scale, latent, guidance, drawn=()):
        model = self.forward.model
        if latent is not None and not drawn:
            self.inputs.append(self.forward.accumulator.shrink(latent, scale).flatten(2).mT)
        nothing = model.position.new_zeros(len(self.shown), 0, model.config.code_width)
        known = [part.repeat(1 + self.guide, 1, 1) for part in self.inputs]
        where, passes = list(model.scales.slices())[scale], self.forward.passes[scale]
        if drawn:
            self.tokens[:, where][:, passes[len(drawn) - 1]] = drawn[-1].repeat(1 + self.guide, 1)
        logits = model(self.shown, torch.cat([nothing, *known], dim=1), self.tokens)[:, where][:, passes[len(drawn)]]
        if self.guide and guidance is None:
            return logits.chunk(2)[0]
        return guided(logits, guidance) if self.guide else logits
