"""The published networks' weights are not here: untrained ones and stand-ins show what surrounds them."""

import hashlib
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from var.errors import UserError
from var.evaluation.features import dinov2
from var.evaluation.features import inception as inception_network
from var.evaluation.features.catalog import distance_name, open_extractor
from var.evaluation.features.classifier import Classifier, ClassifierConfig
from var.evaluation.features.dinov2 import DINOv2Extractor, fitted, resized, resized_positions
from var.evaluation.features.extraction import label_logits
from var.evaluation.features.full_precision import full_float32
from var.evaluation.features.inception import INCEPTION, InceptionExtractor, spatial_features
from var.evaluation.features.published_weights import PublishedWeights


def test_spatial_features_have_the_order_of_the_reference(arrays):
    case = arrays("sfid_layout.npz")
    assert (spatial_features(torch.from_numpy(case["branch1x1_first9ch_nchw"])).numpy() == case["expected"]).all()


@pytest.fixture(scope="module")
def network_file(tmp_path_factory):
    """torch-fidelity's network without training, as the file that it reads."""
    path = tmp_path_factory.mktemp("inception") / "inception.pth"
    torch.save({}, path)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")  # or the signal dies on the way
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def weights(network_file, monkeypatch):
    digest = hashlib.sha256(network_file.read_bytes()).hexdigest()
    published = PublishedWeights(name="i.pth", url="file:///no", sha256=digest)
    monkeypatch.setattr(InceptionExtractor, "published", published)
    return network_file


class TestInception:
    def test_all_three_kinds_of_features(self, weights, images):
        extractor = open_extractor("inception", weights=weights)
        precisions: list[str] = []
        extractor.network.register_forward_pre_hook(
            lambda *_: precisions.append(torch.backends.cuda.matmul.fp32_precision)
        )
        batch = images(2, 0)
        found = extractor(batch)
        assert precisions == ["ieee"]
        assert found.logits is not None
        assert label_logits(extractor, found) is None  # another order than that of labels
        assert found.spatial is not None

        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], str(weights))
        inner: list[torch.Tensor] = []
        network.Mixed_6d.register_forward_hook(lambda _module, _given, output: inner.append(output))
        features, logits = network(batch)
        close = {"rtol": 1e-4, "atol": 1e-4}
        torch.testing.assert_close(found.features, features, **close)
        torch.testing.assert_close(found.logits, logits, **close)
        # Seven channels, channels last: at each of the 17 x 17 places the channels 0 to 6 follow each other.
        places = found.spatial.view(2, 17, 17, 7).permute(0, 3, 1, 2)
        torch.testing.assert_close(places, inner[0][:, :7], **close)
        for values in (features, logits, inner[0][:, :7]):
            assert (values[0] - values[1]).abs().mean() > 0.01  # the comparison sees something

    def test_grey_images_are_refused(self, weights, images):
        with pytest.raises(UserError, match="3 channels, got 1; repeat"):
            InceptionExtractor.load(weights)(images(5, 0)[:, :1])

    def test_what_is_missing_is_named(self, weights, monkeypatch):
        monkeypatch.setattr(inception_network, "version", lambda _: "0.3.0")
        with pytest.raises(
            UserError, match=r'needs torch-fidelity >=0.4,<0.5, got 0.3.0; pip install "next-scale\[eval\]"'
        ):
            InceptionExtractor.load(weights)
        monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
        with pytest.raises(UserError, match=r'FID needs torch-fidelity, .*pip install "next-scale\[eval\]"'):
            InceptionExtractor.load(weights)

    def test_another_file_is_refused_before_it_is_read(self, tmp_path):
        path = tmp_path / "inception.pth"
        path.write_bytes(b"not even a pickle")
        with pytest.raises(
            UserError, match=r"must be weights-inception-2015-12-05-6726825d.pth with SHA-256 6726825d0af5"
        ):
            InceptionExtractor.load(path)


def cubic(values: list[float], place: float) -> float:
    """Cubic convolution with a = -0.75 (Keys 1981), the borders repeated."""

    def weight(t: float) -> float:
        t = abs(t)
        return 1.25 * t**3 - 2.25 * t**2 + 1 if t <= 1 else -0.75 * (t**3 - 5 * t**2 + 8 * t - 4)

    near = range(int(np.floor(place)) - 1, int(np.floor(place)) + 3)
    return sum(weight(place - i) * values[min(max(i, 0), len(values) - 1)] for i in near)


class TestDINOv2:
    @pytest.fixture
    def network(self):
        torch.manual_seed(0)
        return VisionTransformer(img_size=224, patch_size=14, embed_dim=16, depth=1, num_heads=2, num_classes=0)

    def test_features_are_the_class_token_of_normalised_images(self, network, images):
        extractor = DINOv2Extractor(network, "0" * 64)
        batch = images(2, 0)
        pixels = torch.stack(
            [
                torch.from_numpy(np.array(Image.fromarray(x.permute(1, 2, 0).numpy()).resize((224, 224), 3)))
                for x in batch
            ]
        ).permute(0, 3, 1, 2)
        assert torch.equal(resized(batch), pixels)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        normalised = (pixels / 255 - mean[:, None, None]) / std[:, None, None]
        expected = network.forward_features(normalised)[:, 0]
        torch.testing.assert_close(extractor(batch).features, expected)
        with pytest.raises(UserError, match="3 channels, got 1"):
            extractor(batch[:, :1])

    def test_positions_are_sampled_where_the_reference_samples_them(self):
        old, new = 37, 16
        line = torch.randn(old, generator=torch.Generator().manual_seed(0))
        grid = torch.stack([line.expand(old, old), line[:, None].expand(old, old)], dim=-1)
        positions = torch.cat([torch.full((1, 1, 2), 7.0), grid.reshape(1, -1, 2)], dim=1)
        found = resized_positions(positions, new)
        expected = [cubic(line.tolist(), (i + 0.5) * old / (new + 0.1) - 0.5) for i in range(new)]
        across = found[0, 1:].reshape(new, new, 2)
        assert across[3, :, 0].tolist() == pytest.approx(expected, abs=1e-5)
        assert across[:, 3, 1].tolist() == pytest.approx(expected, abs=1e-5)
        assert (found[0, 0] == 7).all()
        assert resized_positions(positions, old) is positions

    def test_the_published_tensors_fit_the_network(self, network):
        tensors = network.state_dict() | {"mask_token": torch.zeros(1, 16), "pos_embed": torch.zeros(1, 1 + 37**2, 16)}
        network.load_state_dict(fitted(tensors))

    def test_a_wrong_file_is_refused(self, tmp_path):
        path = tmp_path / "dinov2.pth"
        path.write_bytes(b"")
        with pytest.raises(UserError, match=r"dinov2.pth must be dinov2_vitl14_pretrain.pth with SHA-256 d5383ea8f487"):
            open_extractor("dinov2", weights=path)
        assert dinov2.SIDE // dinov2.PATCH == 16


def test_a_classifier_is_opened_by_its_folder(tmp_path, images):
    config = ClassifierConfig(name="tiny", channels=3, height=2, width=2, num_classes=3, widths=(4,), strides=(1,))
    Classifier(config).save_pretrained(tmp_path / "judge")
    assert open_extractor(str(tmp_path / "judge"))(images(3, 0)).features.shape == (3, 4)
    with pytest.raises(UserError, match="holds its weights"):
        open_extractor(str(tmp_path / "judge"), weights=tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"got 'incepton'; did you mean 'inception'\?"):
        open_extractor("incepton")


def test_the_word_fid_is_for_one_set_of_weights():
    assert distance_name("inception", INCEPTION.sha256) == "FID"
    assert distance_name("inception", "0" * 64) == "FD-inception"
    assert distance_name("dinov2", dinov2.DINOV2.sha256) == "FD-dinov2"


def test_full_precision_ends_with_the_block():
    before = torch.backends.cudnn.conv.fp32_precision
    with full_float32():
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"
    assert torch.backends.cudnn.conv.fp32_precision == before
