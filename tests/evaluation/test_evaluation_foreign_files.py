"""Files of others in an evaluation: each is read as it is meant, or refused in one line (faults F6, F8, F9, F10)."""

import io
import json
import os
import resource
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from annotations import unchecked
from levelled_sets import LevelJudge, draw, draw_flat
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from var.errors import UserError
from var.evaluation import LPIPS, Statistics
from var.evaluation.judging import judge
from var.evaluation.report.diff import diff_reports
from var.evaluation.report.score_report import ScoreReport, read_reports
from var.evaluation.sets.reference_statistics import ReferenceStatistics, build_statistics
from var.evaluation.sets.samples import open_samples

pytestmark = pytest.mark.filterwarnings("ignore::var.evaluation.RankDeficientWarning")


def refused(read, *parts, match=None):
    with pytest.raises(UserError, match=match) as caught:
        read(*parts)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1500


def everything(path):
    return torch.cat(list(open_samples(path).batches()))


@pytest.fixture
def folder(tmp_path):
    return draw_flat(tmp_path / "set", range(4))


def with_text(path, text, key="next-scale"):
    chunks = PngInfo()
    chunks.add_itxt(key, text)
    Image.new("L", (4, 4)).save(path, pnginfo=chunks)


class TestRecords:
    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("[" * 100_000, "the record in .*9.png must be readable JSON"),
            ("[1, 2]", "must hold an object, got a list"),
            ("null", "must hold an object"),
            ('{"class_label": "3"}', "'class_label' must be a whole number or null, got '3'"),
            ('{"class_label": 1.5}', "'class_label' must be a whole number or null, got 1.5"),
            ('{"class_label": -1}', r"'class_label' must lie in \[0, 2\^63\), got -1"),
            (f'{{"class_label": 1{"0" * 400}}}', "'class_label' must lie in"),
            ('{"seed": true}', "'seed' must be a whole number or null, got True"),
            ('{"class_name": ["x"]}', "'class_name' must be a text or null"),
            ('{"class_label": 1, "class_label": 2}', "given twice"),
            ('{"guidance_scale": NaN}', "NaN is not a JSON number"),
        ],
    )
    def test_a_record_of_others_is_checked(self, folder, text, match):
        with_text(folder / "9.png", text)
        refused(open_samples, folder, match=match)

    def test_a_text_that_unpacks_to_gigabytes(self, folder):
        data = (folder / "0.png").read_bytes()
        body = b"next-scale\0\0" + zlib.compress(b"[" * 80_000_000)
        chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
        (folder / "9.png").write_bytes(data[:33] + chunk + data[33:])
        refused(open_samples, folder, match=r"9\.png")

    def test_another_program_may_keep_its_own_texts(self, folder):
        with_text(folder / "9.png", "[" * 1000, key="parameters")
        assert open_samples(folder).labels is None

    @pytest.mark.parametrize(
        "manifest",
        ["[1, 2]", "{", "[" * 1000, '{"count": "4"}', '{"seed": 1.5}', '{"settings": [1]}', '{"protocol": 3}', "\xff"],
    )
    def test_the_file_beside_a_set_is_checked(self, folder, manifest):
        (folder / "sample-set.json").write_text(manifest, encoding="latin-1")
        refused(open_samples, folder, match=r"sample-set\.json")

    def test_the_file_beside_a_set_is_a_file(self, folder):
        os.mkfifo(folder / "sample-set.json")
        refused(open_samples, folder, match=r"sample-set\.json must be a regular file, got a pipe")


class TestPictures:
    @pytest.mark.parametrize("kind", ["pipe", "socket", "device", "broken link"])
    def test_what_is_no_file_is_not_waited_for(self, folder, kind):
        """F10: a fifo as a sample image hung."""
        path = folder / "9.png"
        {
            "pipe": lambda: os.mkfifo(path),
            "socket": lambda: os.mknod(path, 0o140644),
            "device": lambda: path.symlink_to("/dev/zero"),
            "broken link": lambda: path.symlink_to("nowhere"),
        }[kind]()
        refused(open_samples, folder, match=r"9\.png must (be a regular file|lead to a file)")

    def test_eight_pictures_of_half_a_megabyte_do_not_take_gigabytes(self, tmp_path):
        """F8: `var stats build` on 8 PNGs of 13000x13000 took more than 3.5 GB; training refuses them."""
        (tmp_path / "large").mkdir()
        header = struct.pack(">IIBBBBB", 13000, 13000, 8, 0, 0, 0, 0)
        rows = zlib.compress(bytes(13001 * 100))

        def chunk(kind, body):
            return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

        picture = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
        for number in range(8):
            (tmp_path / "large" / f"{number}.png").write_bytes(picture)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        refused(
            lambda: build_statistics(tmp_path / "large", LevelJudge(), channels=1, progress=False),
            match="must have at most 67108864 pixels, got 13000x13000",
        )
        refused(
            lambda: build_statistics(tmp_path / "large", LevelJudge(), channels=1, size=4, progress=False),
            match="must have at most 67108864 pixels",
        )
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB

    def test_large_pictures_come_one_by_one(self, tmp_path, monkeypatch):
        monkeypatch.setattr("var.evaluation.sets.samples.BATCH_BYTES", 40)
        folder = draw_flat(tmp_path / "set", range(7))
        assert [len(batch) for batch in open_samples(folder).batches()] == [2, 2, 2, 1]

    def test_turned_and_palette_pictures_are_what_they_show(self, tmp_path):
        colours = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
        exif = Image.Exif()
        exif[0x0112] = 6
        (tmp_path / "set").mkdir()
        Image.fromarray(np.rot90(colours)).save(tmp_path / "set" / "0.png", exif=exif)
        Image.fromarray(colours).quantize(24).save(tmp_path / "set" / "1.png")
        found = everything(tmp_path / "set")
        assert found.shape == (2, 3, 4, 6)
        assert (found[0] == found[1]).all()
        assert (found[0].permute(1, 2, 0).numpy() == colours).all()


class TestOrder:
    def test_names_that_mean_one_number_have_one_order(self, tmp_path):
        """`1.png`, `01.png` and `1.jpg` were sorted by the directory: two copies, two fingerprints."""
        names = ["1.png", "01.png", "1.jpg", "001.bmp", "a.png", "A.png", "10.png", "2.png", "B.PNG"]
        prints = set()
        for turn in range(3):
            for name in np.random.default_rng(turn).permutation(names):
                draw(tmp_path / str(turn) / name, 1, names.index(name), recorded=False)
            found = open_samples(tmp_path / str(turn))
            prints.add(found.fingerprint())
            assert [path.name for path in found.files] == [
                *("001.bmp", "01.png", "1.jpg", "1.png", "2.png", "10.png"),
                *("A.png", "B.PNG", "a.png"),
            ]
        assert len(prints) == 1

    def test_what_training_counts_counts_here(self, tmp_path):
        draw(tmp_path / "set" / "0.png", 1, 0, recorded=False)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "set" / "1.gif")
        (tmp_path / "set" / "2.tif").write_bytes(b"")
        (tmp_path / "set" / ".3.png").write_bytes(b"")
        (tmp_path / "set" / "@eaDir").mkdir()
        (tmp_path / "set" / "empty").mkdir()
        (tmp_path / "set" / ".7.png.12.tmp").write_bytes(b"")
        (tmp_path / "set" / ".lock").write_bytes(b"")
        found = open_samples(tmp_path / "set")
        assert [path.name for path in found.files] == ["0.png", "1.gif"]
        said = " ".join(found.notes)
        for part in (
            "1 file that is no image (2.tif)",
            "1 hidden file (.3.png)",
            "1 system entry (@eaDir)",
            "1 folder without images (empty)",
        ):
            assert part in said
        assert len(found.notes) == 4


def archive(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as written:
        for name, data in members:
            written.writestr(name, data)


def npy(array, shape=None):
    file = io.BytesIO()
    np.save(file, array)
    if shape is None:
        return file.getvalue()
    header = io.BytesIO()
    about = {"descr": array.dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, about)
    return header.getvalue() + array.tobytes()


MU, SIGMA = np.zeros(16), np.eye(16)


class TestArchives:
    @pytest.mark.parametrize("read", [ReferenceStatistics.load, Statistics.load, open_samples])
    @pytest.mark.parametrize("damage", ["cut", "flipped", "encrypted", "twice", "text", "pipe", "folder", "pickle"])
    def test_what_is_no_whole_archive(self, tmp_path, damage, read):
        """F9, F10: a dozen kinds of exceptions, and a pipe."""
        path = tmp_path / "x.npz"
        members = {"mu": MU, "sigma": SIGMA, "arr_0": np.zeros((3, 4, 4, 1), np.uint8)}
        np.savez_compressed(path, **members)
        data = path.read_bytes()
        if damage == "cut":
            path.write_bytes(data[:200])
        elif damage == "flipped":
            path.write_bytes(data[:45] + bytes(byte ^ 85 for byte in data[45:-300]) + data[-300:])
        elif damage == "encrypted":
            marked = bytearray(data)
            for place in range(len(data) - 4):
                if data[place : place + 4] in (b"PK\x03\x04", b"PK\x01\x02"):
                    marked[place + (6 if data[place + 2] == 3 else 8)] |= 1
            path.write_bytes(bytes(marked))
        elif damage == "twice":
            with pytest.warns(UserWarning, match="Duplicate"):
                archive(path, [("mu.npy", npy(MU)), ("mu.npy", npy(MU)), ("sigma.npy", npy(SIGMA))])
        elif damage == "pickle":
            np.savez(path, mu=np.array([None] * 16), sigma=SIGMA, arr_0=np.array([None]))
        else:
            path.unlink()
            {"text": lambda: path.write_text("x"), "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}[damage]()
        refused(read, path, match=None if damage == "folder" else r"x\.npz")

    @pytest.mark.parametrize(
        ("arrays", "match"),
        [
            ({"mu": np.zeros((16, 16))}, r"a mean \(d,\) and a covariance"),
            ({"mu": np.zeros(0), "sigma": np.zeros((0, 0))}, r"a mean \(d,\)"),
            ({"sigma": np.eye(15)}, r"for \(16, 16\)"),
            ({"sigma": np.eye(16) + np.eye(16, k=1)}, "symmetric"),
            ({"sigma": -np.eye(16)}, "a variance must not be negative, got -1"),
            ({"sigma": np.eye(16) + 3 * (1 - np.eye(16))}, "must not have negative eigenvalues"),
            ({"mu": np.full(16, np.inf)}, "finite"),
            ({"mu": np.full(16, 1e200)}, "finite"),
            ({"mu": np.zeros(16, complex)}, "of numbers, got complex128"),
            ({"mu": np.array(["x"] * 16)}, "of numbers, got <U1"),
            ({"count": np.array(-1)}, "count must be a whole number"),
            ({"count": np.array(2.5)}, "count must be a whole number"),
            ({"count": np.zeros(3, int)}, "count must be a whole number"),
            ({"features": np.zeros((3, 15), np.float32)}, r"features must be \(n, 16\) floats"),
            ({"features": np.zeros(16, np.float32)}, r"features must be \(n, 16\) floats"),
            ({"provenance": np.array(3)}, "its provenance must be a text"),
            ({"provenance": np.array("[" * 1000)}, "its provenance must be readable JSON"),
            ({"terms": np.array('{"licence": 3}')}, "its terms: 'licence' must be a text or null, got 3"),
            ({"provenance": np.array("[]")}, "its provenance must hold an object"),
            ({"provenance": np.array('{"source": 3}')}, "'source' must be a text, got 3"),
            ({"arr_0": np.zeros((3, 4, 4, 1))}, "arr_0 must be uint8"),
            ({"mu_s": np.zeros(4)}, "must hold sigma_s"),
        ],
    )
    def test_arrays_that_do_not_fit(self, tmp_path, arrays, match):
        np.savez(tmp_path / "x.npz", **{"mu": MU, "sigma": SIGMA, **arrays})
        refused(ReferenceStatistics.load, tmp_path / "x.npz", match=match)

    def test_fortran_order_big_ends_and_half_precision_are_read(self, tmp_path):
        cov = np.diag(np.arange(1.0, 17))
        cov[0, 1] = cov[1, 0] = 0.5
        features = np.random.default_rng(0).standard_normal((5, 16))
        np.savez(
            tmp_path / "x.npz",
            mu=np.arange(16, dtype=">f4"),
            sigma=np.asfortranarray(cov),
            features=features.astype(">f8"),
        )
        found = ReferenceStatistics.load(tmp_path / "x.npz")
        assert (found.statistics.mean == np.arange(16)).all()
        assert (found.statistics.cov == cov).all()
        assert (found.features.numpy() == features).all()
        np.savez(tmp_path / "h.npz", mu=MU, sigma=SIGMA, features=features.astype(np.float16))
        assert ReferenceStatistics.load(tmp_path / "h.npz").features.dtype == torch.float32

    def test_claimed_shapes_are_compared_before_anything_is_read(self, tmp_path):
        """F8: a reference that claims 10^8 x 16 features."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for shape in ((10**8, 16), (10**8, 15)):
            claimed = npy(np.zeros(16, np.float32), shape)
            archive(tmp_path / "x.npz", [("mu.npy", npy(MU)), ("sigma.npy", npy(SIGMA)), ("features.npy", claimed)])
            refused(ReferenceStatistics.load, tmp_path / "x.npz", match=r"x\.npz")
        for name, shape in (("mu", (10**9,)), ("sigma", (10**5, 10**5)), ("arr_0", (10**6, 10**3, 10**3, 3))):
            members = {"mu": npy(MU), "sigma": npy(SIGMA), name: npy(np.zeros(16, np.uint8), shape)}
            archive(tmp_path / "x.npz", [(f"{key}.npy", data) for key, data in members.items()])
            refused(ReferenceStatistics.load, tmp_path / "x.npz", match=r"x\.npz")
        # A bomb says its true size, which is too large, in a file of a few kilobytes.
        bomb = npy(np.zeros(1, np.uint8), (2**30, 1)) + bytes(2**20)
        archive(tmp_path / "x.npz", [("mu.npy", bomb), ("sigma.npy", npy(SIGMA))], zipfile.ZIP_DEFLATED)
        refused(ReferenceStatistics.load, tmp_path / "x.npz", match=r"x\.npz")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB

    def test_a_network_of_other_features_is_refused_after_one_image(self, tmp_path, monkeypatch):
        np.savez(tmp_path / "x.npz", mu=np.zeros(5), sigma=np.eye(5))
        monkeypatch.setattr("var.evaluation.judging.extract_samples", lambda *_, **__: pytest.fail("work was begun"))
        samples = [draw_flat(tmp_path / "a")]
        refused(
            lambda: judge(samples, tmp_path / "x.npz", LevelJudge(), progress=False),
            match="the reference has 5 features",
        )


@pytest.fixture(scope="module")
def written(real_images, tmp_path_factory):
    """The text of a report."""
    samples = draw_flat(tmp_path_factory.mktemp("samples") / "a")
    return json.dumps(judge([samples], real_images / "real.npz", LevelJudge(), progress=False).to_dict())


class TestReports:
    @pytest.fixture
    def content(self, written):
        return json.loads(written)

    @pytest.mark.parametrize(
        "text", ["[{}]", "[" * 100_000, "{}", "null", '{"scores": {"x": [1]}}', '{"kind": NaN}', ""]
    )
    def test_what_is_no_report(self, tmp_path, text):
        """F6: `report diff` of `[{}]`."""
        (tmp_path / "x.json").write_text(text)
        refused(diff_reports, tmp_path / "x.json", tmp_path / "x.json", match=r"x\.json")

    def test_a_report_is_a_file(self, tmp_path):
        os.mkfifo(tmp_path / "x.json")
        refused(read_reports, tmp_path / "x.json", match="must be a regular file, got a pipe")

    @pytest.mark.parametrize(
        "change",
        [
            {"name": 3},
            {"distance": None},
            {"sets": {}},
            {"sets": [3]},
            {"sets": [{"samples": "3"}]},
            {"scores": []},
            {"scores": {"fd": 1.0}},
            {"scores": {"fd": ["1"]}},
            {"scores": {"fd": [True]}},
            {"scores": {"fd": [10**400]}},
            {"extractor": {}},
            {"extractor": {"name": "x", "digest": 3}},
            {"classifier": "x"},
            {"reference": None},
            {"floor": {"samples": 3}},
            {"floor": {"samples": 3, "fd": "x", "at_samples": 1.0}},
            {"protocol": {"name": "x"}},
            {"protocol": {"name": "x", "sampling": [], "per_class": 3}},
            {"rejection": {"share": 0.5}},
            {"rejection": {"share": 0.5, "samples": [1], "scores": {"fd": 3}}},
            {"warnings": [3]},
            {"warnings": "x"},
            {"terms": [None]},
            {"environment": {"versions": []}},
            {"environment": 3},
        ],
    )
    def test_a_report_of_other_types(self, tmp_path, content, change):
        ScoreReport.from_dict(content)
        (tmp_path / "x.json").write_text(json.dumps(content | change))
        with unchecked():
            refused(diff_reports, tmp_path / "x.json", tmp_path / "x.json", match=r"x\.json")


def test_heads_of_lpips_that_are_none(tmp_path):
    heads = {
        f"lin{place}.model.1.weight": torch.zeros(1, width, 1, 1) for place, width in enumerate((64, 128, 256, 512, 9))
    }
    layers = {f"features.{name}": value for name, value in LPIPS().features.state_dict().items()}
    torch.save(layers, tmp_path / "vgg.pth")
    for wrong in (heads, {"lin0": {"model": 3}}, {3: torch.zeros(3)}, {"lin0.x": torch.zeros(1).expand(10**9)}):
        torch.save(wrong, tmp_path / "heads.pth")
        with unchecked():
            refused(LPIPS.from_files, tmp_path / "vgg.pth", tmp_path / "heads.pth", match=r"heads\.pth")


def test_places_that_are_none(reference, tmp_path):
    with unchecked():
        for samples in ("x", [3], [None], [""], ["\0"], [], [tmp_path / "nowhere"]):
            refused(lambda samples=samples: judge(samples, reference, LevelJudge(), progress=False))
