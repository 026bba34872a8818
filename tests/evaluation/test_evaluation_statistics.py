import numpy as np
import pytest
import torch

from var.errors import UserError
from var.evaluation import Statistics


def close(a: Statistics, b: Statistics, rtol: float = 1e-12) -> bool:
    scale = np.abs(b.cov).max() + np.finfo(float).tiny
    return (
        a.count == b.count
        and np.allclose(a.mean, b.mean, rtol=rtol, atol=rtol)
        and np.allclose(a.cov, b.cov, rtol=0, atol=rtol * scale)
    )


@pytest.fixture
def features():
    random = np.random.default_rng(0)
    return (random.standard_normal((500, 7)) @ random.standard_normal((7, 7)) + 3).astype(np.float32)


def test_they_are_mean_and_sample_covariance(features):
    statistics = Statistics.from_features(features)
    exact = features.astype(np.float64)
    assert statistics.count == 500
    assert statistics.mean.dtype == statistics.cov.dtype == np.float64
    np.testing.assert_allclose(statistics.mean, exact.mean(0), rtol=1e-13)
    np.testing.assert_allclose(statistics.cov, np.cov(exact, rowvar=False), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("cuts", [[1], [0, 0, 500], [3, 4, 5, 499], list(range(1, 500, 7))])
def test_sharding_does_not_matter(features, cuts):
    shards = [Statistics.from_features(shard) for shard in np.split(features, cuts)]
    total = shards[0]
    for shard in shards[1:]:
        total = total + shard
    assert close(total, Statistics.from_features(features))


def test_long_sets_are_merged_from_chunks_without_loss():
    features = np.random.default_rng(1).standard_normal((20_000, 3)) + 1e6
    statistics = Statistics.from_features(features)
    np.testing.assert_allclose(statistics.cov, np.cov(features - 1e6, rowvar=False), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e6])
def test_a_common_offset_moves_only_the_mean(features, offset):
    features = np.round(features * 2**10) / 2**10  # so that adding the offset is exact
    moved = Statistics.from_features(features.astype(np.float64) + offset)
    still = Statistics.from_features(features)
    np.testing.assert_allclose(moved.cov, still.cov, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(moved.mean - offset, still.mean, rtol=1e-9)


@pytest.mark.parametrize("value", [0.1, 1e6 + 0.1])
def test_what_never_changes_has_no_variance_at_all(features, value):
    features[:, 2] = value
    cov = Statistics.from_features(features).cov
    assert not cov[2].any()
    assert not cov[:, 2].any()
    same = np.full((20_000, 4), value, np.float32)
    assert not Statistics.from_features(same).cov.any()
    assert not (Statistics.from_features(same[:7]) + Statistics.from_features(same)).cov.any()


def test_one_dimension_and_one_sample():
    one = Statistics.from_features(np.array([[2.0]]))
    assert one.count == 1
    assert (one + Statistics.from_features(np.array([[4.0]]))).cov == pytest.approx(2.0)


def test_empty_shards_change_nothing(features):
    empty, full = Statistics.from_features(np.empty((0, 7))), Statistics.from_features(features)
    assert close(empty + full, full)
    assert close(full + empty, full)
    assert (empty + empty).count == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_of_all_precisions_are_taken(features, dtype):
    tensor = torch.from_numpy(features).to(dtype).requires_grad_()
    assert close(Statistics.from_features(tensor), Statistics.from_features(tensor.detach().double().numpy()))


def test_a_saved_file_comes_back_bit_by_bit(features, tmp_path):
    statistics = Statistics.from_features(features)
    statistics.save(tmp_path / "new" / "reference")
    loaded = Statistics.load(tmp_path / "new" / "reference")
    assert loaded.count == statistics.count
    assert (loaded.mean == statistics.mean).all()
    assert (loaded.cov == statistics.cov).all()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["reference"]


def test_adm_files_are_read_as_they_are(arrays, shared_cases):
    path = shared_cases / "eval" / "ref_stats_adm_layout.npz"
    stored = arrays(path.name)
    loaded, spatial = Statistics.load(path), Statistics.load(str(path), spatial=True)
    assert loaded.count is None  # the 64 images in arr_0 are not those of mu and sigma
    assert (loaded.mean == stored["mu"]).all()
    assert (loaded.cov == stored["sigma"]).all()
    assert (spatial.cov == stored["sigma_s"]).all()
    with pytest.raises(UserError, match="without a count"):
        _ = loaded + loaded


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_named(features, bad):
    features[3, 1] = bad
    with pytest.raises(UserError, match=r"the fakes must be finite, got NaN or Inf in 1 of 500 rows .*row 3"):
        Statistics.from_features(features, name="the fakes")


def test_bad_shapes_are_refused(features):
    with pytest.raises(UserError, match=r"values\[:, None\]"):
        Statistics.from_features(features[0])
    with pytest.raises(UserError, match="same dimensions add, got 7 and 3"):
        _ = Statistics.from_features(features) + Statistics.from_features(features[:, :3])
    with pytest.raises(UserError, match=r"a covariance \(d, d\)"):
        Statistics(3, np.zeros(2), np.zeros((3, 3)))
    with pytest.raises(UserError, match="symmetric"):
        Statistics(3, np.zeros(2), np.array([[1.0, 0.5], [0.0, 1.0]]))


def test_bad_files_are_named(tmp_path):
    path = tmp_path / "reference.npz"
    with pytest.raises(UserError, match=r"reference\.npz must be an npz archive, but it is missing"):
        Statistics.load(path)
    path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(UserError, match=r"reference\.npz must be a readable npz"):
        Statistics.load(path)
    np.savez(path, arr_0=np.zeros((2, 4, 4, 3), np.uint8))
    with pytest.raises(UserError, match="must hold mu and sigma, which it does not"):
        Statistics.load(path)
    np.savez(path, mu=np.zeros(2), sigma=np.full((2, 2), np.nan))
    with pytest.raises(UserError, match=r"reference\.npz: .*finite"):
        Statistics.load(path)
    np.savez(path, mu=np.zeros((2, 1)), sigma=np.zeros((2, 2)))
    with pytest.raises(UserError, match=r"a mean \(d,\) and a covariance \(d, d\)"):
        Statistics.load(path)
    np.savez(path, mu=np.array([None, 1]), sigma=np.zeros((2, 2)))
    with pytest.raises(UserError, match="must be a readable npz"):
        Statistics.load(path)


@pytest.mark.parametrize(
    ("kind", "said"), [("a folder", "must be a regular file, got a folder"), ("text", "must be a readable npz archive")]
)
def test_what_is_no_archive_is_said_without_advice_to_unpickle(tmp_path, kind, said):
    path = tmp_path / "reference.npz"
    path.mkdir() if kind == "a folder" else path.write_text("mu sigma")
    with pytest.raises(UserError, match=said) as caught:
        Statistics.load(path)
    assert "pickle" not in str(caught.value)
