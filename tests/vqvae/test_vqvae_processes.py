"""Two processes that share a batch learn the codes that one process learns from all of it."""

import pytest
import torch
from safetensors.torch import load_file
from vqvae_processes import CODEBOOKS, learn


@pytest.fixture(scope="module")
def folder(forker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    ranks = [forker.start("vqvae_processes.one_rank", folder / f"output-{rank}", folder, rank) for rank in range(2)]
    for rank, pid in enumerate(ranks):
        assert forker.wait(pid) == 0, (folder / f"output-{rank}").read_text()
    return folder


@pytest.mark.parametrize("codebook", CODEBOOKS)
def test_two_processes_learn_the_codes_of_one(folder, codebook):
    expected = learn(codebook, 0, 1)
    for rank in range(2):
        found = load_file(folder / f"{codebook}-{rank}.safetensors")
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5, msg=f"{name} of rank {rank}")
    assert not torch.equal(expected["weight"], learn(codebook, 1, 2)["weight"])
