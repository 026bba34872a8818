import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from var.errors import UserError
from var.evaluation import Statistics, evaluate, extract
from var.evaluation.sets.reference_statistics import ReferenceStatistics, build_statistics, check_comparable
from var.evaluation.sets.samples import open_samples


@pytest.fixture
def folder(tmp_path, images):
    for index, image in enumerate(images(40, 0).permute(0, 2, 3, 1).numpy()):
        path = tmp_path / "real" / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "real"


@pytest.fixture
def built(folder, spatial_extractor):
    return build_statistics(folder, spatial_extractor, keep_features=12, progress=False)


def test_statistics_are_those_of_the_folder_and_say_where_from(built, images, spatial_extractor):
    order = [*range(0, 40, 2), *range(1, 40, 2)]
    found = extract(images(40, 0)[order], spatial_extractor)
    expected = Statistics.from_features(found.features)
    assert (built.statistics.mean == expected.mean).all()
    assert (built.statistics.cov == expected.cov).all()
    assert (built.spatial.cov == Statistics.from_features(found.spatial).cov).all()
    assert built.features.shape == (12, 12)
    assert {tuple(row) for row in built.features.tolist()} <= {tuple(row) for row in found.features.tolist()}
    own = built.provenance
    assert (own.images, own.height, own.width, own.channels, own.source) == (40, 2, 2, 3, "real")
    assert (own.resize, own.crop, own.extractor) == ("none", "none", "pixels")


def test_a_file_keeps_everything(built, tmp_path):
    built.save(tmp_path / "real.npz")
    again = ReferenceStatistics.load(tmp_path / "real.npz")
    assert again.provenance == built.provenance
    assert (again.statistics.cov == built.statistics.cov).all()
    assert (again.spatial.mean == built.spatial.mean).all()
    assert torch.equal(again.features, built.features)
    assert Statistics.load(tmp_path / "real.npz").count == again.spatial.count == 40
    assert len(again.digest) == 64


def test_the_size_resizes_and_crops_as_data_sets_do(folder, extractor, tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8))
    picture.save(folder / "a" / "wide.png")
    built = build_statistics(folder, extractor, size=2, progress=False)
    assert built.provenance.images == 41
    assert (built.provenance.resize, built.provenance.crop) == ("shorter side, Pillow bicubic, antialiased", "centre")
    with pytest.raises(UserError, match=r"wide\.png must be 2x2 .* got 9x7"):
        build_statistics(folder, extractor, progress=False)
    (folder / "b" / "1.png").write_bytes(b"\x89PNG")
    with pytest.raises(UserError, match=r"1\.png must be a whole"):
        build_statistics(folder, extractor, size=2, progress=False)


def test_the_fingerprint_is_of_the_files(built, folder, spatial_extractor):
    (folder / "a" / "0.png").write_bytes((folder / "a" / "2.png").read_bytes())
    assert (
        build_statistics(folder, spatial_extractor, progress=False).provenance.fingerprint
        != built.provenance.fingerprint
    )


@pytest.mark.parametrize(
    ("field", "value"), [("extractor_digest", "1" * 64), ("height", 4), ("resize", "bilinear"), ("rounding", "down")]
)
def test_a_mismatch_is_named(built, field, value):
    other = dataclasses.replace(built.provenance, **{field: value})
    check_comparable(built.provenance, dataclasses.replace(built.provenance, source="elsewhere", images=7))
    with pytest.raises(
        UserError, match=f"must agree in {field} .* got {getattr(built.provenance, field)!r} .*{value!r}"
    ):
        check_comparable(built.provenance, other)


def test_a_file_of_another_network_is_refused(built, folder, images, extractor):
    other = type(extractor)()
    other.digest = "1" * 64
    samples = open_samples(folder)
    built.check_samples(samples, extractor)
    with pytest.raises(UserError, match=r"must agree in extractor_digest .* got '0{64}' \(the reference\) and '1{64}'"):
        built.check_samples(samples, other)
    # Who does not ask beforehand is stopped by `evaluate`.
    with pytest.raises(UserError, match="must be seen by one network, got 111111111111 and 000000000000"):
        evaluate(images(40, 0), built.reference(other), other)


def test_images_that_were_brought_to_size_as_ours_compare_with_samples_of_that_size(folder, extractor):
    sized = build_statistics(folder, extractor, size=2, progress=False)
    sized.check_samples(open_samples(folder), extractor)


@pytest.mark.filterwarnings("ignore::var.evaluation.RankDeficientWarning")
def test_adms_images_serve_pairs_and_its_moments_the_distance(tmp_path, images, extractor):
    real, shown = images(60, 0), images(20, 5)
    moments = Statistics.from_features(extractor(real).features)
    path = tmp_path / "adm.npz"
    np.savez(path, mu=moments.mean, sigma=moments.cov, arr_0=shown.permute(0, 2, 3, 1).numpy())
    file = ReferenceStatistics.load(path)
    assert file.provenance is file.spatial is file.statistics.count is None
    reference = file.reference(extractor)
    assert torch.equal(reference.features, extractor(shown).features)
    assert evaluate(shown, reference, extractor).recall == 1
    assert evaluate(real, reference, extractor).fd < 1e-9
    file.save(tmp_path / "again.npz")
    with np.load(tmp_path / "again.npz") as archive:
        assert (archive["arr_0"] == shown.permute(0, 2, 3, 1).numpy()).all()
        assert (archive["sigma"] == moments.cov).all()


def test_what_does_not_fit_is_refused(built, tmp_path, images, extractor):
    path = tmp_path / "x.npz"
    moments = built.statistics
    np.savez(path, mu=moments.mean, sigma=moments.cov, provenance=np.array(json.dumps({"source": "x"})))
    with pytest.raises(UserError, match=r"x\.npz: its provenance must have 'images'"):
        ReferenceStatistics.load(path)
    np.savez(path, mu=moments.mean, sigma=moments.cov, features=np.zeros((3, 4), np.float32))
    with pytest.raises(UserError, match=r"features must be \(n, 12\) floats"):
        ReferenceStatistics.load(path)
    np.savez(path, mu=np.zeros(3), sigma=np.eye(3), arr_0=images(4, 0).permute(0, 2, 3, 1).numpy())
    with pytest.raises(UserError, match="has 3 features, and pixels gives 12"):
        ReferenceStatistics.load(path).reference(extractor)
    with pytest.raises(UserError, match="but it is missing"):
        ReferenceStatistics.load(tmp_path / "nothing.npz")
