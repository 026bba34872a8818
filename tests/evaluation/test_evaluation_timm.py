"""Networks of timm as judges; their published weights are not here, so they are untrained."""

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from var.errors import UserError
from var.evaluation.features.catalog import distance_name, open_extractor
from var.evaluation.features.timm_classifier import TimmClassifier

NAME = "test_resnet.r160_in1k"  # timm's own for tests: 0.5 million parameters, 160 pixels


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("timm") / "weights.safetensors"
    save_file(timm.create_model(NAME, pretrained=False).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def judge(weights):
    return open_extractor(f"timm:{NAME}", weights=weights)


def images(count=3, side=40):
    return torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_logits_are_those_of_timm_after_its_own_transform(judge, weights):
    network = timm.create_model(NAME, checkpoint_path=str(weights)).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    batch = images()
    pixels = torch.stack([transform(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in batch])
    with torch.no_grad():
        expected = network(pixels)
    found = judge(batch)
    torch.testing.assert_close(found.logits, expected)
    assert found.logits.shape == (3, 1000)
    with torch.no_grad():
        torch.testing.assert_close(network.get_classifier()(found.features), expected)


def test_a_row_depends_on_its_own_image_only(judge):
    batch = images()
    torch.testing.assert_close(judge(batch[:1]).logits, judge(batch).logits[:1])


def test_name_and_digest_tell_networks_apart(judge, weights):
    assert judge.name == NAME
    assert distance_name(judge.name, judge.digest) == f"FD-{NAME}"
    other = timm.create_model(NAME, pretrained=False)
    nn.init.ones_(other.get_classifier().bias)
    assert TimmClassifier(NAME, other).digest != judge.digest
    assert open_extractor(f"timm:{NAME}", weights=weights).digest == judge.digest


def test_what_is_not_there(tmp_path, weights, monkeypatch):
    with pytest.raises(UserError, match="timm knows no network 'resnet1010'; did you mean 'resnet101'"):
        open_extractor("timm:resnet1010")
    with pytest.raises(UserError, match=r"make 'resnet18.no', but: Invalid pretrained tag .*; correct the name$"):
        open_extractor("timm:resnet18.no", weights=weights)
    with pytest.raises(UserError, match=r"weights\.safetensors must hold the weights of this network, but: "):
        open_extractor("timm:resnet18", weights=weights)

    def offline(*_, pretrained, **__):
        assert pretrained
        raise OSError("no way to the Hub\nand more")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match=f"make '{NAME}', but: no way to the Hub; correct the name, or give the file"):
        open_extractor(f"timm:{NAME}")


def test_gray_images_are_refused(judge):
    with pytest.raises(UserError, match="channels"):
        judge(images()[:, :1])
