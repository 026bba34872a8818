"""Weights fine-tuned to need no guidance, as CCA (thu-ml/CCA) and DDO (NVlabs/DDO) publish them: the layout of VAR."""

import pytest
import torch
from official_layout import official_pair

from var import VARPipeline
from var.errors import UserError

SETTINGS = {"sides": (1, 2, 3), "width": 128, "heads": 2, "depth": 2}


@pytest.fixture(scope="module")
def pair():
    return official_pair(7, **SETTINGS)


def saved(tensors, path):
    """A state dict as `Module.state_dict` gives it, with its versions: what both projects saved and load strictly."""
    state = torch.nn.Module().state_dict()
    state.update(tensors)
    assert state._metadata
    torch.save(state, path)
    return path


def tokens(pipe, **call):
    return torch.cat([each.flatten(1) for each in pipe([1, 2, 3], seeds=[0, 1, 2], progress=False, **call).tokens], 1)


@pytest.mark.parametrize("name", ["VAR_d16_CCA.pth", "var_d16-ddo.pth"])
def test_published_files_are_read_and_draw_without_the_row_of_no_class(pair, tmp_path, name):
    vqvae = saved(pair[0], tmp_path / "vae_ch160v4096z32.pth")
    pipe = VARPipeline.from_original(vqvae, saved(pair[1], tmp_path / name))
    assert (pipe.transformer.config.num_classes, pipe.transformer.config.heads) == (10, 2)
    rows = pair[1]["class_emb.weight"].clone()
    assert len(rows) == 11  # the null class has its row still, and guidance works
    rows[10] = 100.0
    other = VARPipeline.from_original(vqvae, {**pair[1], "class_emb.weight": rows})
    assert torch.equal(tokens(pipe, guidance_scale=1), tokens(other, guidance_scale=1))
    assert not torch.equal(tokens(pipe, guidance_scale=4), tokens(other, guidance_scale=4))


def test_a_checkpoint_of_ccas_training_holds_the_transformer_right_under_trainer(pair, tmp_path):
    path = tmp_path / "ar-ckpt-last.pth"
    torch.save({"epoch": 1, "iter": 0, "trainer": pair[1], "args": {"depth": 2, "fp16": 1}}, path)
    pipe = VARPipeline.from_original(pair[0], path)
    assert torch.equal(pipe.transformer.head.weight, pair[1]["head.weight"])
    # Unlike the official one it holds no tokenizer.
    with pytest.raises(UserError, match="must be an official tokenizer, got a transformer"):
        VARPipeline.from_original(path, path)
