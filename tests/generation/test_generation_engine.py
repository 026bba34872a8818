"""The engine against the teacher-forced pass, and what it must not do: copy, cast, concatenate or compute twice."""

import collections
import math
import weakref
from functools import partial

import pytest
import torch
from teacher_forced import TeacherForced
from tiny import tiny_pipeline
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from var import VARPipeline
from var.conditions import Condition
from var.errors import UserError
from var.generation.decoding import ImageDecoder
from var.generation.draws import OfficialDraws, PerImageDraws
from var.generation.engine import Engine, KVCache
from var.generation.graphs import record
from var.generation.logits import candidates
from var.generation.loop import generate
from var.generation.projection import Projection, computing_type
from var.generation.sampling_settings import SamplingSettings
from var.linear import has_kernel

SETTINGS = {"output_type": "pt", "progress": False}
ACTIVATIONS = {None: nn.Identity, "gelu": nn.GELU, "gelu_tanh": partial(nn.GELU, approximate="tanh")}
SIDES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)


class Operators(TorchDispatchMode):
    """Counts the operators that run; views, which move no data, apart."""

    VIEWS = (
        "view",
        "slice",
        "select",
        "permute",
        "transpose",
        "t",
        "unbind",
        "expand",
        "alias",
        "unsqueeze",
        "squeeze",
        "detach",
        "split",
        "as_strided",
        "_unsafe_view",
        "lift_fresh",
        "is_set_to",  # compares addresses
    )

    def __init__(self):
        super().__init__()
        self.calls = collections.Counter()
        self.seen = collections.defaultdict(list)

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = function.overloadpacket.__name__
        if name not in self.VIEWS:
            self.calls[name] += 1
            self.seen[name].append(arguments)
        return function(*arguments, **(keywords or {}))


def run(forward, sampling=None, guidance=(1.5, 2.0, 3.0), labels=(1, 4, 2)):
    streams = [torch.Generator().manual_seed(seed) for seed in range(len(labels))]
    sampling = sampling or SamplingSettings(top_k=9, top_p=0.9)
    return generate(
        forward, Condition.of(torch.tensor(labels)), guidance=guidance, sampling=sampling, draws=PerImageDraws(streams)
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"l2_attention": False},
        {"shared_adaln": True},
        {"activation": "gelu"},
        {"mlp_ratio": 3.0, "heads": 1, "depth": 3},
    ],
)
@pytest.mark.parametrize("guidance", [(1.0, 1.0, 1.0), (1.5, 0.0, 3.0)])
@pytest.mark.parametrize("pack", [False, True])
def test_the_engine_draws_the_tokens_of_the_teacher_forced_pass(settings, guidance, pack):
    pipe = tiny_pipeline(**settings)
    plain = run(TeacherForced(pipe.vqvae, pipe.transformer), guidance=guidance)
    engine = run(Engine(pipe.vqvae, pipe.transformer, pack=pack), guidance=guidance)
    for left, right in zip(plain.token_maps, engine.token_maps, strict=True):
        assert torch.equal(left, right)
    torch.testing.assert_close(plain.latents[-1], engine.latents[-1], atol=1e-5, rtol=1e-5)
    assert torch.cat([token_map.flatten() for token_map in plain.token_maps]).unique().numel() > 3


def test_many_images_take_the_attention_of_few_keys(pipe):
    labels = torch.arange(70) % 5  # times 4 heads, beyond the number from which plain operators are used
    plain = run(TeacherForced(pipe.vqvae, pipe.transformer), guidance=(1.0,) * 3, labels=labels.tolist())
    few = [
        run(Engine(pipe.vqvae, pipe.transformer), guidance=(1.0,) * 3, labels=labels[:3].tolist()).token_maps[scale]
        for scale in range(3)
    ]
    for left, right in zip(plain.token_maps, few, strict=True):
        assert torch.equal(left[:3], right)


def test_bfloat16_weights_give_nearly_the_tokens_of_their_float32_copies():
    rounded, same = tiny_pipeline().to(torch.bfloat16), tiny_pipeline()
    same.vqvae.load_state_dict(rounded.vqvae.state_dict())
    same.transformer.load_state_dict(rounded.transformer.state_dict())
    settings = {"top_k": 1, "seeds": range(20), **SETTINGS}
    tokens, exact = (pipe([0, 1, 2, 3] * 5, **settings).tokens for pipe in (rounded, same))
    first = (tokens[0] == exact[0]).float().mean()  # later scales follow other inputs once a token differs
    assert first == 1
    assert (tokens[2] == exact[2]).float().mean() > 0.7


@pytest.mark.parametrize("instructions", [True, False])
def test_bfloat16_is_computed_with_where_the_cpu_can(monkeypatch, instructions):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": instructions})
    expected = torch.bfloat16 if instructions else torch.float32
    assert computing_type(torch.bfloat16, torch.device("cpu")) == expected
    assert computing_type(torch.bfloat16, torch.device("cuda")) == torch.bfloat16
    assert computing_type(torch.float16, torch.device("cpu")) == torch.float32
    assert computing_type(torch.float64, torch.device("cpu")) == torch.float64
    # Either way the images are those of the same weights, within the rounding of bfloat16.
    images = tiny_pipeline().to(torch.bfloat16)([1], top_k=1, seeds=[0], **SETTINGS).images
    assert images.dtype == torch.float32
    assert images.isfinite().all()


def test_a_projection_is_the_linear_layer():
    x, weight, bias = torch.randn(2, 7, 16), torch.randn(24, 16), torch.randn(24)
    assert has_kernel(weight) == torch.backends.mkldnn.is_available()
    for name, activation in ACTIVATIONS.items():
        expected = activation()(x @ weight.T + bias)
        for pack in (False, True):
            found = Projection.of(weight, bias, torch.float32, activation=name, pack=pack)(x)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(Projection.of(weight, bias, torch.float32)(x), x @ weight.T + bias)


def test_a_call_of_the_published_depth_takes_few_operators():
    """At most 60 % of the 5.6 thousand of the official code (16 blocks, 10 scales, a top-k and a top-p)."""
    pipe = published_shape()
    pipe([1], guidance_scale=2.5, top_k=9, top_p=0.96, seeds=[0], **SETTINGS)
    with Operators() as count:
        pipe([1], guidance_scale=2.5, top_k=9, top_p=0.96, seeds=[0], **SETTINGS)
    assert 2500 < count.calls.total() <= 0.6 * 5600
    assert count.calls["sort"] == 0  # top-k comes sorted: the vocabulary never is
    assert count.calls["cat"] <= 3  # of the weights that are compared with those of the call before, none in the loop
    assert count.calls["_to_copy"] == 0


def published_shape():
    """A pipeline of the published number of scales, blocks and decoder levels, but narrow."""
    torch.manual_seed(0)
    from var import VAR, VQVAE, VARConfig, VQVAEConfig

    vqvae = VQVAE(VQVAEConfig(sides=SIDES, vocabulary=16, width=4, base_channels=8, norm_groups=8))
    return VARPipeline(
        vqvae,
        VAR(VARConfig(sides=SIDES, vocabulary=16, code_width=4, num_classes=5, depth=16, width=32, heads=2)),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_after_a_first_call_no_weight_is_cast(own_pipe, dtype):
    own_pipe.to(dtype)
    own_pipe([1, 2], seeds=[0, 1], **SETTINGS)
    weights = {
        parameter.data_ptr()
        for part in (own_pipe.transformer.blocks, own_pipe.transformer.head, own_pipe.vqvae.decoder)
        for name, parameter in part.named_parameters()
        if "adaln" not in name
    }
    with Operators() as count:
        own_pipe([1, 2], seeds=[0, 1], **SETTINGS)
    cast = {arguments[0].data_ptr() for arguments in count.seen["_to_copy"]}
    assert not cast & weights


def test_keys_and_values_lie_in_storage_that_is_allocated_once_a_call(own_pipe, monkeypatch):
    made, lent = [], []
    init, views = KVCache.__init__, KVCache.views

    def recorded_init(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self.storage.fill_(math.nan)  # what is not written yet must not be read
        made.append(self.storage.data_ptr())

    def recorded_views(self, *where):
        groups = views(self, *where)
        lent.extend(each.untyped_storage().data_ptr() for group in groups for each in group)
        return groups

    monkeypatch.setattr(KVCache, "__init__", recorded_init)
    monkeypatch.setattr(KVCache, "views", recorded_views)
    own_pipe([1], seeds=[0], guidance_scale=2.0, **SETTINGS)
    assert len(made) == 1
    assert set(lent) == set(made)
    assert len(lent) == 3 * 3 * 2  # scales, groups, layers


class LiveMemory(TorchDispatchMode):
    """The most bytes that tensors made inside held at one moment."""

    def __init__(self):
        super().__init__()
        self.users, self.bytes, self.most = collections.Counter(), {}, 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                address = storage.data_ptr()
                if address in self.bytes or not self._is_given(arguments, address):
                    self.users[address] += 1
                    self.bytes[address] = storage.nbytes()
                    weakref.finalize(tensor, self._drop, address)
        self.most = max(self.most, sum(self.bytes.values()))
        return result

    @staticmethod
    def _is_given(arguments, address):
        """Whether a result only shows an argument that was there before, such as a weight."""
        given = (each for each in torch.utils._pytree.tree_leaves(arguments) if isinstance(each, torch.Tensor))
        return any(each.untyped_storage().data_ptr() == address for each in given)

    def _drop(self, address):
        self.users[address] -= 1
        if not self.users[address]:
            self.bytes.pop(address, None)


def test_a_call_takes_its_cache_and_the_features_of_one_scale_or_one_image():
    """Above the weights, that is; nothing of earlier scales or other images is kept."""
    pipe, images = published_shape(), 6
    call = {"guidance_scale": 2.5, "top_k": 9, "top_p": 0.96, "seeds": range(images), **SETTINGS}
    pipe([1] * images, **call)
    with LiveMemory() as memory:
        pipe([1] * images, **call)
    config, rows = pipe.transformer.config, 2 * images
    cache = 4 * config.depth * 2 * rows * config.schedule.length * config.width
    # The widest moment of a block: the residual stream and what it began as, its norm and its modulation, the update
    # (5 widths); q, k and v (3); the MLP before and after its activation (2 x 4).
    block = 4 * rows * 256 * config.width * 16
    # The decoder at full resolution holds a few maps of the first level; beside it, images as decoded and as given.
    decoder = 4 * 256 * 256 * (4 * pipe.vqvae.config.base_channels + 2 * images * 3)
    assert cache + block / 2 < memory.most < max(cache + 1.1 * block, decoder)
    assert decoder < cache  # while the cache is held, nothing is decoded: all images at once would show


def test_an_engine_is_kept_until_weights_change(own_pipe):
    own_pipe([1], seeds=[0], **SETTINGS)
    engine = own_pipe._prepare()[0]
    before = own_pipe([1], seeds=[0], top_k=1, **SETTINGS)
    assert own_pipe._prepare()[0] is engine
    with torch.no_grad():
        own_pipe.transformer.blocks[0].attention.log_scale.add_(1)
        own_pipe.transformer.blocks[0].attention.q_bias.normal_(std=3)
    after = own_pipe([1], seeds=[0], top_k=1, **SETTINGS)
    assert own_pipe._prepare()[0] is not engine
    fresh = VARPipeline(own_pipe.vqvae, own_pipe.transformer)([1], seeds=[0], top_k=1, **SETTINGS)
    assert all(torch.equal(left, right) for left, right in zip(after.tokens, fresh.tokens, strict=True))
    assert not all(torch.equal(left, right) for left, right in zip(after.tokens, before.tokens, strict=True))


def test_a_compiled_pipeline_gives_the_same_tokens(own_pipe):
    plain = own_pipe([1, 2], seeds=[0, 1], guidance_scale=2.0, **SETTINGS)
    assert own_pipe.compile() is own_pipe
    for _ in range(2):
        packed = own_pipe([1, 2], seeds=[0, 1], guidance_scale=2.0, **SETTINGS)
        for left, right in zip(plain.tokens, packed.tokens, strict=True):
            assert torch.equal(left, right)
        torch.testing.assert_close(plain.images, packed.images, atol=1e-5, rtol=1e-5)


def test_recorded_scales_keep_their_storage_between_calls(own_pipe):
    """Without a GPU nothing is recorded, but what a recording needs holds: fixed addresses, and no leftover state."""
    engine = Engine(own_pipe.vqvae, own_pipe.transformer, graphs=True)
    addresses = []
    for labels in ((1, 4, 2), (0, 0, 3), (1, 4, 2)):
        made = run(engine, labels=labels)
        kept = engine.kept
        addresses.append([t.data_ptr() for t in (kept.cache.storage, *kept.constants.tensors())])
        plain = run(TeacherForced(own_pipe.vqvae, own_pipe.transformer), labels=labels)
        assert all(torch.equal(left, right) for left, right in zip(made.token_maps, plain.token_maps, strict=True))
    assert addresses[0] == addresses[1] == addresses[2]
    assert len(engine.kept.recorded) == 3
    run(engine, labels=(1, 2))  # another batch size begins anew
    assert len(engine.kept.constants.start) == 4


def test_calls_of_one_engine_do_not_meet(own_pipe):
    """A callback may use the pipeline that calls it, and so may another thread."""
    alone = own_pipe([1, 2], seeds=[0, 1], guidance_scale=2.0, **SETTINGS)
    inner = []

    def again(*_):
        inner.append(own_pipe([4, 0, 3], seeds=[5, 6, 7], **SETTINGS))

    outer = own_pipe([1, 2], seeds=[0, 1], guidance_scale=2.0, callback_on_step_end=again, **SETTINGS)
    assert all(torch.equal(left, right) for left, right in zip(alone.tokens, outer.tokens, strict=True))
    expected = own_pipe([4, 0, 3], seeds=[5, 6, 7], **SETTINGS)
    assert torch.equal(inner[0].images, expected.images)
    assert len(inner) == 3


def test_nothing_is_recorded_on_a_cpu():
    def double(x):
        return 2 * x

    assert record(double, torch.ones(2)) is double


def test_decoding_in_chunks_changes_nothing(own_pipe):
    latents = torch.randn(5, 4, 3, 3)
    decode = ImageDecoder(own_pipe.vqvae)
    whole = decode(latents)
    decode.chunk = 2
    torch.testing.assert_close(decode(latents), whole, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(whole, own_pipe.vqvae.decode_latent(latents), atol=1e-5, rtol=1e-5)
    assert whole.abs().max() <= 1


def test_images_of_the_published_size_are_decoded_one_by_one_on_a_cpu():
    assert ImageDecoder(published_shape().vqvae).chunk == 1


def test_the_official_stream_asks_one_generator_over_the_whole_vocabulary():
    logits = 2 * torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(1))
    choice = candidates(logits, SamplingSettings(top_k=6, top_p=0.9))
    kept = torch.full_like(logits, -torch.inf).scatter(-1, choice.codes, choice.logits)
    expected = torch.multinomial(
        kept.softmax(-1).view(-1, 16), 1, replacement=True, generator=torch.Generator().manual_seed(3)
    )
    drawn = OfficialDraws(torch.Generator().manual_seed(3), 16).codes(choice)
    assert torch.equal(drawn, expected.view(2, 5))
    codebook = torch.randn(16, 4)
    generator = torch.Generator().manual_seed(3)
    gumbel = -torch.empty_like(kept).exponential_(generator=generator).log()
    weights = ((kept * 1.5 + gumbel) / (0.27 * (1 - 0.95 * 0.5))).softmax(-1)
    mixed = OfficialDraws(torch.Generator().manual_seed(3), 16).mixtures(choice, codebook, 0.5)
    torch.testing.assert_close(mixed, weights @ codebook)


def test_the_official_stream_needs_one_generator(pipe):
    out = pipe([1, 2], generator=torch.Generator().manual_seed(3), official_stream=True, **SETTINGS)
    again = pipe([1, 2], generator=torch.Generator().manual_seed(3), official_stream=True, **SETTINGS)
    assert torch.equal(out.images, again.images)
    both = {"generator": torch.Generator(), "seeds": [0, 1]}
    for wrong in ({"seeds": [0, 1]}, {"generator": [torch.Generator(), torch.Generator()]}, {}, both):
        with pytest.raises(UserError, match="official_stream needs one generator"):
            pipe([1, 2], official_stream=True, **wrong, **SETTINGS)
    with pytest.raises(UserError, match="official_stream has no seed per image"):
        pipe("random", 2, generator=torch.Generator(), official_stream=True, **SETTINGS)


def test_weights_that_are_not_finite_are_refused(own_pipe):
    with torch.no_grad():
        own_pipe.transformer.head.bias[3] = math.nan
        own_pipe.vqvae.quantizer.codebook.weight.fill_(math.nan)
    with pytest.raises(UserError, match="finite logits"):
        own_pipe([1], seeds=[0], **SETTINGS)
