"""Section 2, "the engine does not see": generation does the arithmetic of modules itself, and leaves nothing out.

Hooks, changed classes and patched methods of a module that is never called would change nothing, in silence.
"""

import warnings

import pytest
import torch
from tiny import tiny_pipeline
from torch import nn
from torch.nn.utils import prune

from var import VAR
from var.errors import UserError
from var.transformer.blocks import Attention, Block


class Halved(nn.Linear):
    def forward(self, x):
        return super().forward(x) / 2


class Blind(Attention):
    def forward(self, x, mask):
        return torch.zeros_like(super().forward(x, mask))


class Passing(Block):
    def forward(self, x, modulation, mask):
        return x


class Scaled(VAR):
    def forward(self, shown, inputs):
        return 2 * super().forward(shown, inputs)


def patched(module):
    forward = module.forward
    module.forward = lambda *given: -forward(*given)


def old_weight_norm(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it is deprecated, and in use
        nn.utils.weight_norm(module)


CHANGES = {
    "hook": lambda model: model.blocks[0].mlp.fc1.register_forward_hook(lambda *given: -given[-1]),
    "hook before": lambda model: model.blocks[1].mlp.register_forward_pre_hook(lambda _, given: (-given[0],)),
    "hook of a block": lambda model: model.blocks[1].register_forward_hook(lambda *given: -given[-1]),
    "hook of the model": lambda model: model.register_forward_hook(lambda *given: -given[-1]),
    "hook of a dropout": lambda model: model.blocks[0].attention.dropout.register_forward_hook(lambda *given: 0),
    "pruned": lambda model: prune.l1_unstructured(model.blocks[0].mlp.fc1, "weight", amount=0.7),
    "weight norm": lambda model: old_weight_norm(model.blocks[0].attention.projection),
    "spectral norm": lambda model: nn.utils.spectral_norm(model.head),
    "patched": lambda model: patched(model.blocks[0].mlp),
    "patched layer": lambda model: patched(model.token_projection),
    "class of a layer": lambda model: setattr(model.blocks[0].mlp.fc2, "__class__", Halved),
    "class of attention": lambda model: setattr(model.blocks[0].attention, "__class__", Blind),
    "class of a block": lambda model: setattr(model.blocks[0], "__class__", Passing),
    "class of the model": lambda model: setattr(model, "__class__", Scaled),
    "another block": lambda model: model.blocks.__setitem__(0, nn.Identity()),
    "another MLP": lambda model: setattr(model.blocks[0], "mlp", nn.Sequential(nn.Linear(32, 32))),
    "another activation": lambda model: setattr(model.blocks[0].mlp, "act", nn.ReLU()),
    "a norm": lambda model: setattr(model.blocks[0].mlp, "drop1", nn.LayerNorm(128)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_generation_would_leave_out_is_refused(change):
    pipe = tiny_pipeline()
    pipe([1], seeds=[0], progress=False)  # what is prepared is looked at again
    change(pipe.transformer)
    with pytest.raises(UserError, match=r"\Ageneration computes from weights alone .* as \S+; merge .*\Z"):
        pipe([1], seeds=[0], progress=False)


def test_hooks_of_what_is_cast_are_refused():
    """In half precision a CPU decodes with a copy, which a hook that comes later would not be in."""
    for place in ("decoder", "quantizer"):
        pipe = tiny_pipeline().to(torch.float16)
        pipe([1], seeds=[0], progress=False)
        getattr(pipe.vqvae, place).register_forward_hook(lambda *given: -given[-1])
        with pytest.raises(UserError, match=r"casts a copy of these modules, got .* with forward_hooks of its own"):
            pipe([1], seeds=[0], progress=False)


def test_hooks_of_what_is_called_work():
    pipe = tiny_pipeline()
    settings = {"seeds": [0], "progress": False, "output_type": "pt"}
    before = pipe([1], **settings)
    pipe.vqvae.decoder.register_forward_hook(lambda *given: -given[-1])
    assert torch.allclose(pipe([1], **settings).images, 1 - before.images)
    pipe.transformer.class_embedding.register_forward_hook(lambda *given: 9 * given[-1])
    assert not all(map(torch.equal, pipe([1], **settings).tokens, before.tokens))


@pytest.mark.parametrize("count", [1, 3])
def test_blocks_that_were_removed_or_added_count(count):
    """The tokens are the likeliest ones of the modules, of so many blocks as there are."""
    pipe = tiny_pipeline()
    blocks = pipe.transformer.blocks
    pipe.transformer.blocks = nn.ModuleList([*blocks, blocks[0]][:count])
    found = pipe([1, 2], seeds=[0, 1], top_k=1, guidance_scale=1, progress=False)
    with torch.no_grad():
        logits = pipe.transformer(torch.tensor([1, 2]), pipe.vqvae.inputs(found.tokens))
    assert torch.equal(logits.argmax(-1), pipe.transformer.scales.flatten(found.tokens))
