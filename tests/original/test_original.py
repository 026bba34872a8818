"""What `from_original` takes, what it reads off the tensors, and what it refuses."""

import pickle

import pytest
import torch
from official_layout import official_pair, transformer_shapes, vqvae_shapes
from safetensors.torch import save_file

from var import VARPipeline
from var.errors import UserError
from var.original.inference import transformer_config
from var.original.sides import read_sides

SETTINGS = {"sides": (1, 2, 3), "width": 32, "heads": 4, "depth": 2}
PLAIN = {**SETTINGS, "heads": 2, "l2_attention": False, "width": 64, "depth": 1}


@pytest.fixture(scope="module")
def pair():
    return official_pair(5, **SETTINGS)


@pytest.fixture(scope="module")
def pipe(pair):
    return VARPipeline.from_original(*pair)


@pytest.fixture(scope="module")
def without_scales():
    """A transformer without L2-normalised attention: nothing in it tells its number of heads."""
    return official_pair(5, **PLAIN)[1]


def weights(pipe):
    return {**pipe.vqvae.state_dict(prefix="vqvae."), **pipe.transformer.state_dict(prefix="transformer.")}


def same(a, b):
    a, b = weights(a), weights(b)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def changed(tensors, **changes):
    """State dict with other tensors; None drops one. Dots are written as two underscores."""
    changes = {name.replace("__", "."): tensor for name, tensor in changes.items()}
    return {name: tensor for name, tensor in {**tensors, **changes}.items() if tensor is not None}


def refusal(*arguments, **settings):
    with pytest.raises(UserError) as caught:
        VARPipeline.from_original(*arguments, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_configuration_is_read_off_the_tensors(pipe):
    config = pipe.transformer.config
    assert (config.sides, config.depth, config.width, config.heads) == ((1, 2, 3), 2, 32, 4)
    assert (config.vocabulary, config.code_width, config.num_classes) == (32, 4, 10)
    assert (config.mlp_ratio, config.l2_attention, config.shared_adaln) == (4.0, True, False)
    assert (pipe.vqvae.config.base_channels, pipe.vqvae.config.channel_multipliers) == (32, (1, 1, 2, 2, 4))
    assert (pipe.vqvae.config.residual_blocks, pipe.vqvae.config.attention, pipe.vqvae.config.phi) == (2, True, 4)
    assert not pipe.transformer.training
    assert pipe.class_names is None
    assert {tensor.dtype for tensor in weights(pipe).values()} == {torch.float32}


@pytest.mark.parametrize("ratio", [3, 3.3, 8 / 3, 0.7])
def test_any_mlp_ratio_gives_its_hidden_width_back(ratio):
    shapes = transformer_shapes(**SETTINGS, code_width=4, vocabulary=32, mlp_ratio=ratio)
    transformer = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    found = transformer_config(transformer, (1, 2, 3), num_heads=None, source="the file").mlp_ratio
    assert round(found * 32) == round(ratio * 32)


@pytest.mark.parametrize(("phi", "found"), [("one", 1), (2, 2), (3, 3), ("each", "per-scale")])
def test_every_sharing_of_phi(pair, phi, found):
    rest = {name: tensor for name, tensor in pair[0].items() if "quant_resi" not in name}
    shapes = vqvae_shapes(sides=(1, 2, 3), code_width=4, vocabulary=32, phi=phi)
    phis = {name: torch.randn(shape) for name, shape in shapes.items() if "quant_resi" in name}
    pipe = VARPipeline.from_original({**rest, **phis}, pair[1])
    assert pipe.vqvae.config.phi == found
    for ours, theirs in zip(pipe.vqvae.quantizer.phi.parameters(), phis.values(), strict=True):
        assert torch.equal(ours, theirs)


def test_files_and_dicts_are_the_same(pair, pipe, tmp_path):
    torch.save(pair[0], tmp_path / "vae.pth")
    save_file(pair[1], tmp_path / "var.safetensors")
    loaded = VARPipeline.from_original(tmp_path / "vae.pth", str(tmp_path / "var.safetensors"))
    assert same(loaded, pipe)
    # The file may go: nothing of it stays mapped.
    (tmp_path / "vae.pth").write_bytes(b"")
    assert same(loaded, pipe)


def test_a_training_checkpoint_stands_for_both(pair, pipe, tmp_path):
    parts = {"vae_local": pair[0], "var_wo_ddp": pair[1], "var_opt": {"optimizer": {"state": {}}}}
    checkpoint = {"epoch": 3, "iter": 0, "trainer": {"config": {"patch_nums": (1, 2, 3)}, **parts}, "args": {"bs": 1}}
    torch.save(checkpoint, tmp_path / "ar-ckpt-last.pth")
    assert same(VARPipeline.from_original(tmp_path / "ar-ckpt-last.pth", checkpoint), pipe)
    assert same(VARPipeline.from_original(pair[0], checkpoint["trainer"]), pipe)


def test_names_of_wrapped_models(pair, pipe):
    wrapped = [
        {prefix + name: tensor for name, tensor in pair[1].items()} for prefix in ("module.", "_orig_mod.module.")
    ]
    for each in wrapped:
        assert same(VARPipeline.from_original(pair[0], each), pipe)


def test_another_dtype_on_request(pair, pipe):
    half = VARPipeline.from_original(*pair, dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in weights(half).values()} == {torch.bfloat16}
    stored = [{k: t.half() if t.is_floating_point() else t for k, t in part.items()} for part in pair]
    full = VARPipeline.from_original(*stored)
    assert {tensor.dtype for tensor in weights(full).values()} == {torch.float32}
    assert torch.equal(full.transformer.head.weight, pipe.transformer.head.weight.half().float())


def test_loading_draws_nothing_and_keeps_nothing_of_the_dict(pair):
    before = torch.get_rng_state()
    loaded = VARPipeline.from_original(*pair)
    assert torch.equal(torch.get_rng_state(), before)
    assert loaded.transformer.head.weight.data_ptr() != pair[1]["head.weight"].data_ptr()
    assert loaded.transformer.head.weight.requires_grad


def test_saved_again_it_is_ours(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    assert same(VARPipeline.from_pretrained(tmp_path), pipe)


def test_statistics_of_another_schedule_start_afresh(pair, pipe):
    """The official 512 px models have the tokenizer of 256 px with other sides; its code does the same."""
    loaded = VARPipeline.from_original(changed(pair[0], quantize__ema_vocab_hit_SV=torch.ones(10, 32)), pair[1])
    assert same(loaded, pipe)
    kept = VARPipeline.from_original(changed(pair[0], quantize__ema_vocab_hit_SV=torch.full((3, 32), 2.0)), pair[1])
    assert (kept.vqvae.quantizer.codebook.usage == 2).all()


def test_sides_without_the_index(pair):
    def sides(tensors, given=None):
        return read_sides(tensors, given, "the file")

    stripped = changed(pair[1], lvl_1L=None)
    assert sides(stripped) == (1, 2, 3)  # from the mask
    # 1 + 4 + 9 is the only sum of three different squares from 1 that gives 14.
    assert sides(changed(stripped, attn_bias_for_masking=None)) == (1, 2, 3)
    # 1 + 16 + 49 + 64 = 130 = 1 + 4 + 25 + 100.
    shapes = transformer_shapes(sides=(1, 4, 7, 8), code_width=4, vocabulary=8, width=4, depth=0, heads=1)
    several = {name: torch.ones(shape) for name, shape in shapes.items() if name in ("pos_start", "pos_1LC")}
    several["lvl_embed.weight"] = torch.ones(4, 4)
    with pytest.raises(UserError, match=r"the file must tell .* has no lvl_1L; pass sides=\(1, 2, ...\)"):
        sides(several)
    assert sides(several, (1, 4, 7, 8)) == (1, 4, 7, 8)
    with pytest.raises(UserError, match="have 14 positions, but pos_1LC has 130"):
        sides(several, (1, 2, 3))
    assert "have 5 positions, but pos_1LC has 14" in refusal(*pair, sides=(1, 2))
    assert VARPipeline.from_original(*pair, sides=(1, 2, 3)).transformer.config.sides == (1, 2, 3)


def test_heads_that_no_tensor_tells(pair, without_scales):
    told = VARPipeline.from_original(pair[0], without_scales, num_heads=2)
    assert told.transformer.config.heads == 2
    assert not told.transformer.config.l2_attention
    # Without it only the rule of the official builder is left: a head a block, each 64 wide.
    assert transformer_config(without_scales, (1, 2, 3), num_heads=None, source="the file").heads == 1
    odd = official_pair(5, **{**PLAIN, "width": 32})[1]
    assert "width 32 is not 64 times depth 1; pass num_heads" in refusal(pair[0], odd)
    assert "must divide the width 32, got 5" in refusal(pair[0], odd, num_heads=5)
    assert "has 4 heads by its scale per head, got num_heads=2" in refusal(*pair, num_heads=2)


def test_normalised_codes_must_be_told(pair, pipe):
    assert not pipe.vqvae.config.normalize_codes
    assert VARPipeline.from_original(*pair, normalize_codes=True).vqvae.config.normalize_codes


BAD_TRANSFORMERS = {
    "an unknown name": ({"blocks__0__attn__rope": torch.ones(3)}, "official names only, got blocks.0.attn.rope"),
    "a missing weight": ({"blocks__1__attn__q_bias": None}, "missing our blocks.1.attention.q_bias"),
    "a weight it has no place for": ({"blocks__0__ada_gss": torch.ones(1, 1, 6, 32)}, "unexpected blocks.0.ada_gss"),
    "a wrong shape": ({"blocks__1__attn__q_bias": torch.ones(31)}, r"attn.q_bias has shape (31,) instead of (32,)"),
    "a wrong kind": ({"head__bias": torch.ones(32, dtype=torch.long)}, "head.bias has kind torch.int64"),
    "a made-up block": ({"blocks__99999999__attn__q_bias": torch.ones(32)}, "counts to 99999999 with"),
    "a block too many": ({"blocks__2__attn__q_bias": torch.ones(32)}, "missing our blocks.2.attention.qkv.weight"),
    "an empty weight": ({"word_embed__weight": torch.ones(0, 4)}, "word_embed.weight must have 2 axes"),
    "no tensor": ({"head__bias": 3}, "got int under 'head.bias'"),
    "a bias on k": ({"blocks__0__attn__zero_k_bias": torch.ones(32)}, "zero_k_bias must be as in all official files"),
    "map sizes that are no squares": (
        {"lvl_1L": torch.tensor([[0] * 2 + [1] * 12])},
        "must count the tokens of square",
    ),
    "tokens out of order": ({"lvl_1L": torch.tensor([[1, 0, 0, 0, 0] + [2] * 9])}, "lvl_1L must count the tokens"),
    "scales that shrink": ({"lvl_1L": torch.tensor([[0] * 4 + [1] + [2] * 9])}, "must grow from coarse to fine"),
    "other sides": ({"lvl_1L": torch.tensor([[0] + [1] * 4])}, "have 5 positions, but pos_1LC has 14"),
    "an enormous weight": ({"head__bias": torch.ones(1).expand(10**12)}, "head.bias must be stored element by element"),
}


@pytest.mark.parametrize("case", BAD_TRANSFORMERS)
def test_bad_transformers(pair, case):
    changes, message = BAD_TRANSFORMERS[case]
    assert message in refusal(pair[0], changed(pair[1], **changes))


NAMES = ("weight", "bias")
BAD_TOKENIZERS = {
    "an unknown name": ({"loss__logvar": torch.ones(())}, "official names only, got loss.logvar"),
    "no phi": (
        {f"quantize__quant_resi__qresi_ls__{i}__{n}": None for i in range(4) for n in ("weight", "bias")},
        "phi",
    ),
    "two layouts of phi": ({"quantize__quant_resi__qresi__weight": torch.ones(4, 4, 3, 3)}, "got one and few"),
    "channels": ({"encoder__conv_in__weight": torch.ones(48, 3, 3, 3)}, "multiples of the first layer's 48, got 32"),
    "a missing weight": ({"decoder__up__3__block__1__norm1__bias": None}, "our decoder.levels.1.blocks.1.norm1.bias"),
    "a wrong shape": ({"decoder__conv_out__bias": torch.ones(4)}, "decoder.conv_out.bias has shape (4,)"),
}


@pytest.mark.parametrize("case", BAD_TOKENIZERS)
def test_bad_tokenizers(pair, case):
    changes, message = BAD_TOKENIZERS[case]
    assert message in refusal(changed(pair[0], **changes), pair[1])


def test_parts_in_the_wrong_place(pair):
    assert "must be an official transformer, got a tokenizer; the order is" in refusal(pair[1], pair[0])
    assert "the transformer's state dict must be an official transformer" in refusal(pair[0], {})
    assert "['trainer'] must be an official tokenizer" in refusal({"trainer": {"config": {}}}, pair[1])
    other = official_pair(5, **SETTINGS, code_width=6)[1]
    assert "the same code width, got 4 and 6" in refusal(pair[0], other)


class Evil:
    def __reduce__(self):
        return (open, ("EXECUTED", "w"))


def test_files_that_are_no_checkpoints(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(pair[0], "whole.pth")
    torch.save({**pair[0], "evil": Evil()}, "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:-100_000])
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><html>404</html>")
    (tmp_path / "pointer.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 438\n")
    torch.save({"head.weight": torch.ones(1).expand(10**6, 10**6)}, "giant.pth")
    for name, message in {
        "evil.pth": "asks to run io.open, which was not done",
        "plain.pth": "plain.pth must",
        "cut.pth": "must be a whole file",
        "page.pth": "web page",
        "pointer.pth": "Git-LFS pointer",
        "giant.pth": "only claimed",
        "missing.pth": "there is no missing.pth",
        ".": "must be a file",
    }.items():
        assert message in refusal(name, pair[1])
    assert not (tmp_path / "EXECUTED").exists()


def test_a_device_or_dtype_that_cannot_be_is_refused_at_once():
    assert "device 'nowhere' cannot be used" in refusal("missing.pth", "missing.pth", device="nowhere")
    assert "dtype must be a float type" in refusal("missing.pth", "missing.pth", dtype=torch.int8)
