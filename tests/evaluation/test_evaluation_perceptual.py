import hashlib

import pytest
import torch
from torch.nn import functional as F

from var.errors import UserError
from var.evaluation.features.published_weights import PublishedWeights, find_weights
from var.evaluation.metrics.lpips import LPIPS

ENDS = (3, 8, 15, 22, 29)  # the last ReLU of each group


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    network = LPIPS()
    for head in network.heads:
        head.data.uniform_()
    return network


@pytest.fixture(scope="module")
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 2, 3, 19, 24, generator=generator) * 2 - 1


def test_it_is_the_formula_of_the_paper(network, pair):
    shift, scale = (torch.tensor(v)[:, None, None] for v in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)))
    a, b = (pair - shift) / scale
    expected = torch.zeros(2)
    for index, layer in enumerate(network.features):
        a, b = layer(a), layer(b)
        if index in ENDS:
            difference = (F.normalize(a, dim=1) - F.normalize(b, dim=1)) ** 2
            weights = network.heads[ENDS.index(index)]
            expected += (difference * weights[:, None, None]).sum(1).mean((1, 2))
    torch.testing.assert_close(network(*pair), expected, rtol=1e-5, atol=0)


def test_equal_images_are_at_zero_and_gradients_are_finite(network, pair):
    images = pair[0].clone().requires_grad_()
    distance = network(images, pair[0])
    assert distance.tolist() == [0, 0]
    network(images, pair[1]).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    black = torch.zeros(1, 3, 16, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(black, torch.zeros(1, 3, 16, 16)).sum(), black)
    assert torch.isfinite(gradient).all()


def test_grey_is_the_same_as_three_equal_channels(network, pair):
    grey = pair[:, :, :1]
    torch.testing.assert_close(network(*grey), network(*grey.expand(-1, -1, 3, -1, -1)), rtol=1e-6, atol=0)


def test_it_stays_frozen_inside_a_model_that_trains(network):
    holder = torch.nn.ModuleList([network]).train()
    assert not holder[0].training
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(
    ("shape", "match"), [((1, 3, 15, 16), "at least 16x16, got 15x16"), ((1, 2, 16, 16), "1 or 3 channels, got 2")]
)
def test_unfit_images_are_refused(network, shape, match):
    with pytest.raises(UserError, match=match):
        network(torch.zeros(shape), torch.zeros(shape))
    with pytest.raises(UserError, match="one shape"):
        network(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 17))


def test_files_are_read_by_the_published_names(tmp_path, network, pair):
    vgg16, heads = tmp_path / "vgg16.pth", tmp_path / "heads.pth"
    tensors = {f"features.{name}": value for name, value in network.features.state_dict().items()}
    torch.save(tensors | {"classifier.0.weight": torch.zeros(2, 2)}, vgg16)
    torch.save(
        {f"lin{i}.model.1.weight": head.data[None, :, None, None] for i, head in enumerate(network.heads)}, heads
    )
    loaded = LPIPS.from_files(vgg16, heads)
    assert torch.equal(loaded(*pair), network(*pair))
    assert loaded.digest.startswith(hashlib.sha256(vgg16.read_bytes()).hexdigest())

    with pytest.raises(UserError, match=r"vgg16.pth must be vgg16-397923af.pth with SHA-256 397923af8e79"):
        LPIPS.load(vgg16, heads)
    with pytest.raises(UserError, match=r"heads.pth must hold the weights of LPIPS, but: missing 0.weight, "):
        LPIPS.from_files(heads, heads)


class TestPublished:
    content = b"weights"

    @pytest.fixture
    def weights(self, tmp_path, monkeypatch):
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
        source = tmp_path / "source.bin"
        source.write_bytes(self.content)
        digest = hashlib.sha256(self.content).hexdigest()
        return PublishedWeights(name="weights.bin", url=source.as_uri(), sha256=digest)

    def test_a_download_is_checked_and_kept(self, weights, tmp_path):
        found = find_weights(weights, progress=False)
        assert found == tmp_path / "hub" / "checkpoints" / "weights.bin"
        (tmp_path / "source.bin").unlink()
        assert find_weights(weights).read_bytes() == self.content

    def test_a_broken_download_leaves_nothing(self, weights, tmp_path):
        (tmp_path / "source.bin").write_bytes(b"wei")
        with pytest.raises(UserError, match="SHA-256"):
            find_weights(weights, progress=False)
        assert not list((tmp_path / "hub" / "checkpoints").iterdir())

    def test_what_cannot_be_had_is_named(self, weights, tmp_path):
        (tmp_path / "source.bin").unlink()
        with pytest.raises(
            UserError, match=r"weights.bin is not in .* and cannot be downloaded from file.*give its path"
        ):
            find_weights(weights, progress=False)
        with pytest.raises(UserError, match=r"there is no .*missing.bin; get it from file"):
            find_weights(weights, tmp_path / "missing.bin")
