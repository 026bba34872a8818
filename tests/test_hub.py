import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar, Literal

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors
from huggingface_hub.utils import httpx
from safetensors.torch import load_file, save_file
from torch import nn

from var.errors import UserError
from var.hub import PretrainedModel, PretrainedPipeline, config_from_dict, config_to_dict


@dataclass(frozen=True, kw_only=True)
class TinyConfig:
    width: int
    rate: float = 0.5
    bias: bool = True
    kind: Literal["square", "round", 3] = "square"
    name: str | None = None
    sides: tuple[int | tuple[int, int], ...] = (1, 2)
    pair: tuple[str, float] = ("a", 1.0)

    def __post_init__(self):
        if self.width < 1:
            raise UserError(f"width must be positive, got {self.width}; enlarge it")


class Tiny(PretrainedModel, nn.Module):
    config_class = TinyConfig

    def __init__(self, config: TinyConfig):
        super().__init__()
        self.config = config
        self.inner = nn.Linear(config.width, config.width, bias=config.bias)
        self.head = nn.Linear(config.width, config.width, bias=False)
        self.head.weight = self.inner.weight  # tied
        self.drop = nn.Dropout(0.5)
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("mask", torch.ones(config.width), persistent=False)


class Other(PretrainedModel, nn.Module):
    config_class = TinyConfig

    def __init__(self, config: TinyConfig):
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.randn(config.width))


class Pair(PretrainedPipeline):
    parts: ClassVar[dict[str, type[nn.Module]]] = {"first": Tiny, "second": Other}

    def __init__(self, first, second, steps=7):
        self.first, self.second, self.steps = first, second, steps

    def settings(self):
        return {"steps": self.steps}


@pytest.fixture
def tiny():
    return Tiny(TinyConfig(width=3, sides=(1, (2, 3)), name="n"))


@pytest.fixture
def saved(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def assert_same_weights(ours, theirs):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def one_line(message):
    return pytest.raises(UserError, match=rf"\A(?:{message}).*\Z")  # a dot takes no newline


# Configs


def test_config_round_trip_through_json():
    config = TinyConfig(width=4, rate=1e-4, bias=False, kind=3, name="x", sides=(1, (2, 3)), pair=("b", 2.0))
    back = config_from_dict(TinyConfig, json.loads(json.dumps(config_to_dict(config))))
    assert back == config
    assert isinstance(back.sides[1], tuple)


def test_whole_numbers_become_floats_where_a_float_is_asked():
    config = config_from_dict(TinyConfig, {"width": 4, "rate": 1, "pair": ["a", 2]})
    assert (type(config.rate), type(config.pair[1])) == (float, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widht": 4}, "here: TinyConfig has no field 'widht'; did you mean 'width'"),
        ({}, "here: TinyConfig needs the field 'width', which is missing; add it"),
        ({"width": "4"}, "here: field 'width' must be int, got '4'; correct it"),
        ({"width": 4.0}, "here: field 'width' must be int, got 4.0"),
        ({"width": True}, "here: field 'width' must be int, got True"),
        ({"width": None}, "here: field 'width' must be int, got None"),
        ({"width": 4, "bias": 1}, "here: field 'bias' must be bool, got 1"),
        ({"width": 4, "rate": "fast"}, "here: field 'rate' must be float, got 'fast'"),
        ({"width": 4, "kind": "squre"}, "here: field 'kind' must be one of 'square', 'round', 3, got 'squre'"),
        ({"width": 4, "kind": 3.0}, "here: field 'kind' must be one of 'square', 'round', 3, got 3.0"),
        ({"width": 4, "name": 3}, r"here: field 'name' must be str \| None, got 3"),
        ({"width": 4, "sides": 3}, r"here: field 'sides' must be tuple\[.*\], got 3"),
        ({"width": 4, "sides": [1, [2, 3, 4]]}, r"here: field 'sides' must be .*, got \[1, \[2, 3, 4\]\]"),
        ({"width": 4, "pair": ["a"]}, r"here: field 'pair' must be tuple\[str, float\], got \['a'\]"),
        ({"width": 0}, "here: width must be positive, got 0; enlarge it"),
    ],
)
def test_wrong_configs_are_refused(values, message):
    with one_line(message):
        config_from_dict(TinyConfig, values, source="here")


# Models


def test_a_model_comes_back_as_it_was(tiny, saved):
    state = torch.random.get_rng_state()
    back = Tiny.from_pretrained(saved)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert back.config == tiny.config
    assert not back.training
    assert_same_weights(back, tiny)
    assert torch.equal(back.mask, torch.ones(3))
    assert back.head.weight is back.inner.weight


def test_the_files_are_whole_readable_and_alone(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "model.safetensors"]
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in saved.iterdir())
    assert json.loads((saved / "config.json").read_text())["class"] == "Tiny"
    assert set(load_file(saved / "model.safetensors")) == {"inner.weight", "inner.bias", "head.weight", "count"}


def test_saving_over_an_older_model(saved):
    newer = Tiny(TinyConfig(width=5))
    newer.save_pretrained(saved)
    assert_same_weights(Tiny.from_pretrained(str(saved)), newer)


def test_an_interrupted_save_leaves_nothing_that_loads_wrongly(saved, monkeypatch):
    real = os.replace

    def killed(source, target):
        if Path(target).name == "config.json":
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        Tiny(TinyConfig(width=3, bias=False)).save_pretrained(saved)
    with one_line(".*config.json must exist, but it is missing"):
        Tiny.from_pretrained(saved)


def test_a_failed_save_keeps_the_older_model(tiny, saved, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("var.hub.save_file", full)
    with one_line(".*model.safetensors must be writable, but: No space left on device; choose"):
        Tiny(TinyConfig(width=3)).save_pretrained(saved)
    assert_same_weights(Tiny.from_pretrained(saved), tiny)
    assert len(list(saved.iterdir())) == 2


def test_slices_of_one_tensor_are_written_whole(tmp_path):
    model = Other(TinyConfig(width=4))
    model.weight = nn.Parameter(torch.arange(400.0)[4:8])
    model.save_pretrained(tmp_path)
    assert torch.equal(Other.from_pretrained(tmp_path).weight, torch.arange(4.0, 8.0))
    assert (tmp_path / "model.safetensors").stat().st_size < 500


def test_dtype_and_device(saved):
    back = Tiny.from_pretrained(saved, dtype=torch.bfloat16, device="cpu")
    assert back.inner.weight.dtype == back.mask.dtype == torch.bfloat16
    assert back.count.dtype == torch.int64
    with one_line("dtype must be a float type, got torch.int8; use"):
        Tiny.from_pretrained(saved, dtype=torch.int8)
    with one_line("device 'cuda:99' cannot be used here .*; use 'cpu'"):
        Tiny.from_pretrained(saved, device="cuda:99")


def test_half_precision_files_load_into_the_model_s_own_type(tiny, saved):
    tiny.bfloat16().save_pretrained(saved)
    back = Tiny.from_pretrained(saved)
    assert back.inner.weight.dtype == torch.float32
    assert torch.equal(back.inner.weight, tiny.inner.weight.float())


def edit_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("inner.bias"), "missing inner.bias; use"),
        (lambda w: w.update(extra=torch.zeros(1)), "unexpected extra; use"),
        (lambda w: w.update(mask=torch.zeros(3)), "unexpected mask; use"),
        (lambda w: w.update({"inner.bias": torch.zeros(4)}), r"inner.bias has shape \(4,\) instead of \(3,\); use"),
        (lambda w: w.update({"inner.bias": torch.zeros(3, dtype=torch.int32)}), "inner.bias has kind I32 instead of"),
        (lambda w: w.update(count=torch.tensor(3.5)), "count has kind F32 instead of torch.int64"),
        (lambda w: w.clear(), "missing count, missing inner.weight, missing inner.bias, missing head.weight; use"),
        (lambda w: w.update({f"x{i:02}": torch.zeros(1) for i in range(14)}), ".*unexpected x09 and 4 more; use"),
    ],
)
def test_weights_that_do_not_fit_are_listed_and_not_copied(saved, monkeypatch, change, message):
    edit_weights(saved, change)
    monkeypatch.setattr(torch.Tensor, "copy_", lambda *args: pytest.fail("copied before comparing"))
    with one_line(f"{saved}/model.safetensors must hold exactly the weights of Tiny .*, but: {message}"):
        Tiny.from_pretrained(saved)


def write_header(path, tensors):
    header = json.dumps(tensors).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def test_a_huge_tensor_is_refused_by_its_header(saved):
    size = 4 * 2**30  # a sparse file: this much is declared, and hardly any of it is on the disk
    weights = saved / "model.safetensors"
    write_header(weights, {"inner.weight": {"dtype": "F32", "shape": [2**30], "data_offsets": [0, size]}})
    with one_line(".*model.safetensors must be a whole safetensors file, but: .*; download or save it again"):
        Tiny.from_pretrained(saved)
    os.truncate(weights, weights.stat().st_size + size)
    with one_line(r".*, inner.weight has shape \(1073741824,\) instead of \(3, 3\); use"):
        Tiny.from_pretrained(saved)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), ".*config.json must exist, but it is missing"),
        (lambda folder: (folder / "config.json").write_text("{"), ".*config.json must be a readable JSON file, but"),
        (lambda folder: (folder / "config.json").write_text("[" * 100000), ".*config.json must be a readable JSON"),
        (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe"), ".*config.json must be a readable JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), ".*config.json must hold a JSON object, got list"),
        (
            lambda folder: (folder / "config.json").write_text('{"class": "Tiny", "width": 3, "rate": NaN}'),
            ".*config.json must be a readable JSON file, but: NaN is not a JSON number",
        ),
        (
            lambda folder: (folder / "config.json").write_text('{"class": "Other", "width": 3}'),
            ".*config.json must be of class 'Tiny', got 'Other'; load",
        ),
        (lambda folder: (folder / "config.json").write_text('{"width": 3}'), ".*must be of class 'Tiny', got None"),
        (
            lambda folder: (folder / "config.json").write_text('{"class": "Tiny", "width": 3, "sidse": []}'),
            ".*config.json: TinyConfig has no field 'sidse'; did you mean 'sides'",
        ),
        (lambda folder: (folder / "model.safetensors").unlink(), ".*model.safetensors must be a whole .*No such file"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), ".*model.safetensors must be a whole"),
        (
            lambda folder: os.truncate(folder / "model.safetensors", os.path.getsize(folder / "model.safetensors") - 1),
            ".*model.safetensors must be a whole safetensors file, but: .*; download",
        ),
    ],
)
def test_damaged_folders_are_named(saved, damage, message):
    damage(saved)
    with one_line(message):
        Tiny.from_pretrained(saved)


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_cannot_be_written(tiny, tmp_path, place):
    (tmp_path / "file").write_text("mine")
    with one_line(f"the output {tmp_path / place} must be writable, but: .*; choose another place"):
        tiny.save_pretrained(tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_config_that_could_not_be_read_back_is_not_saved(tiny, tmp_path):
    tiny.config = dataclasses.replace(tiny.config, name=7)
    with one_line("the config of Tiny: field 'name' must be"):
        tiny.save_pretrained(tmp_path / "new")
    tiny.config = dataclasses.replace(tiny.config, name=None, rate=float("nan"))
    with one_line("settings must be finite numbers"):
        tiny.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


# Pipelines


@pytest.fixture
def pipeline(tiny):
    return Pair(first=tiny, second=Other(TinyConfig(width=2)), steps=9)


def test_a_pipeline_comes_back_with_parts_and_settings(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "pipeline_index.json", "second"]
    back = Pair.from_pretrained(tmp_path, dtype=torch.float64)
    assert back.steps == 9
    assert_same_weights(back.second, pipeline.second.double())
    assert_same_weights(back.first, pipeline.first.double())
    assert_same_weights(Tiny.from_pretrained(tmp_path, subfolder="first"), pipeline.first.float())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class": "Triple"}, ".*pipeline_index.json must be of class 'Pair', got 'Triple'"),
        ({"parts": {"first": "Tiny"}}, ".*pipeline_index.json: Pair has the parts .*, got .'first': 'Tiny'.; load"),
        ({"settings": {"stpes": 3}}, ".*pipeline_index.json: Pair has no setting 'stpes'; did you mean 'steps'"),
        ({"settings": {"first": 3}}, ".*pipeline_index.json: Pair has no setting 'first'"),
        ({"settings": None}, ".*pipeline_index.json: 'settings' must be a JSON object, got None"),
        ({"extra": 1}, ".*pipeline_index.json: unknown key 'extra'"),
    ],
)
def test_a_wrong_index_is_refused(pipeline, tmp_path, change, message):
    pipeline.save_pretrained(tmp_path)
    path = tmp_path / "pipeline_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with one_line(message):
        Pair.from_pretrained(tmp_path)


def test_an_interrupted_pipeline_is_not_taken_for_finished(pipeline, tmp_path, monkeypatch):
    pipeline.save_pretrained(tmp_path)
    monkeypatch.setattr(Other, "state_dict", lambda self: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        pipeline.save_pretrained(tmp_path)
    with one_line(".*pipeline_index.json must exist, but it is missing"):
        Pair.from_pretrained(tmp_path)


# Paths and ids. The far end of the Hub is replaced here: these tests show what is asked of it and what is made of its
# answers, not that a server understands it.


@pytest.fixture
def no_hub(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: pytest.fail("the Hub was asked"))


@pytest.mark.parametrize("path", ["./absent", "../absent", "~/absent", "/absent/model", "a/b/c", "runs\\tiny", "."])
def test_what_looks_local_is_never_asked_of_the_hub(no_hub, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with one_line("(a local model must be an existing folder, but there is no|.*config.json must exist)"):
        Tiny.from_pretrained(path)


def test_a_mistyped_path_gets_a_suggestion(no_hub, saved):
    with one_line(f"a local model must be an existing folder, but there is no {saved}s; did you mean 'tiny'"):
        Tiny.from_pretrained(f"{saved}s")
    with one_line("a saved model is a folder, got .*config.json, but it is a file; give"):
        Tiny.from_pretrained(saved / "config.json")
    with one_line("a saved model is a folder, got .*vqvae, but there is none; give"):
        Tiny.from_pretrained(saved, subfolder="vqvae")


@pytest.mark.parametrize("repo_id", ["", "two words", "name?", "a/", "/b/"])
def test_what_cannot_be_an_id_is_refused(no_hub, tmp_path, monkeypatch, repo_id):
    monkeypatch.chdir(tmp_path)
    with one_line("(a model must be an existing folder or a Hub id|a local model must|.*config.json must exist)"):
        Tiny.from_pretrained(repo_id)


@pytest.mark.parametrize("subfolder", ["../other", "/etc", "a/../../b", "a\\b"])
def test_a_subfolder_cannot_leave_the_folder(no_hub, saved, subfolder):
    with one_line("subfolder must lie inside the model's folder, got"):
        Tiny.from_pretrained(saved, subfolder=subfolder)


@pytest.mark.parametrize("subfolder", [None, "first"])
def test_an_id_is_downloaded_with_all_options(pipeline, tmp_path, monkeypatch, subfolder):
    pipeline.save_pretrained(tmp_path)
    asked = {}

    def download(repo_id, **options):
        asked.update(options, repo_id=repo_id)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    options = {"revision": "v1", "token": "t", "cache_dir": tmp_path, "local_files_only": True}
    if subfolder:
        assert_same_weights(Tiny.from_pretrained("me/pair", subfolder=subfolder, **options), pipeline.first)
    else:
        assert Pair.from_pretrained("me/pair", **options).steps == 9
    patterns = asked.pop("allow_patterns")
    assert asked == options | {"repo_id": "me/pair"}
    files = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")]
    wanted = set(huggingface_hub.utils.filter_repo_objects([*files, "README.md", "x.bin"], allow_patterns=patterns))
    assert wanted == {name for name in files if name.startswith(subfolder or "")}


def answer(kind, status):
    response = httpx.Response(status, request=httpx.Request("GET", "https://hub.invalid/me/tiny"))
    return kind("line one\nline two", response=response)


ANSWERS = [
    (
        answer(errors.RepositoryNotFoundError, 404),
        "no such folder here and no such model there, or it is private; check",
    ),
    (answer(errors.RevisionNotFoundError, 404), "it has no such revision; name a branch"),
    (answer(errors.GatedRepoError, 403), "access is gated; ask for it"),
    (answer(errors.HfHubHTTPError, 401), "status 401, not allowed; pass a token"),
    (answer(errors.HfHubHTTPError, 500), "line one; try again"),
    (errors.LocalEntryNotFoundError("nothing in the cache"), "not in the cache, and the Hub is out of reach"),
    (errors.OfflineModeIsEnabled("offline"), "the Hub is out of reach or not to be asked; give the path"),
    (httpx.ConnectError("no route"), "the Hub is out of reach"),
    (errors.HFValidationError("bad id"), "bad id; try again"),
    (OSError(28, "No space left on device"), r"\[Errno 28\] No space left on device; try again"),
]


@pytest.mark.parametrize(("error", "message"), ANSWERS)
def test_every_answer_of_the_hub_is_one_line(monkeypatch, tmp_path, error, message):
    def fail(*args, **options):
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with one_line(f"the Hub did not give 'me/tiny': .*{message}") as caught:
        Tiny.from_pretrained("me/tiny")
    assert "\n" not in str(caught.value)


def test_a_real_cache_that_lacks_the_model(tmp_path, monkeypatch):
    # No replacement here: huggingface_hub itself looks into an empty cache.
    monkeypatch.chdir(tmp_path)
    with one_line("the Hub did not give 'me/tiny': .*not in the cache"):
        Tiny.from_pretrained("me/tiny", cache_dir=tmp_path, local_files_only=True)


class FakeApi:
    """Stands for the Hub's far end: remembers what it was sent."""

    sent: ClassVar[dict] = {}
    files: ClassVar[dict] = {}

    def __init__(self, token=None):
        self.sent["token"] = token

    def create_repo(self, repo_id, *, private, exist_ok):
        self.sent |= {"repo_id": repo_id, "private": private, "exist_ok": exist_ok}
        return SimpleNamespace(repo_id=repo_id if "/" in repo_id else f"me/{repo_id}")

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        self.sent |= {"full_id": repo_id, "commit_message": commit_message}
        self.files.clear()
        self.files |= {str(p.relative_to(folder_path)): p.read_bytes() for p in folder_path.rglob("*") if p.is_file()}
        return SimpleNamespace(commit_url="https://hub.invalid/commit/1")


def test_push_sends_a_whole_folder_with_a_card(pipeline, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    address = pipeline.push_to_hub("pair", token="t", private=True, commit_message="First")
    assert address == "https://hub.invalid/commit/1"
    assert FakeApi.sent == {
        "token": "t", "repo_id": "pair", "private": True, "exist_ok": True, "full_id": "me/pair",
        "commit_message": "First",
    }  # fmt: skip
    assert set(FakeApi.files) == {
        "README.md", "pipeline_index.json", "first/config.json", "first/model.safetensors", "second/config.json",
        "second/model.safetensors",
    }  # fmt: skip
    card = FakeApi.files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: next-scale\n")
    assert "license: mit" in card
    assert 'Pair.from_pretrained("me/pair")' in card


def test_push_of_a_model(tiny, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    tiny.push_to_hub("me/tiny")
    assert set(FakeApi.files) == {"README.md", "config.json", "model.safetensors"}


def test_push_that_is_refused_is_one_line(tiny, monkeypatch):
    def refuse(*args, **options):
        raise answer(errors.HfHubHTTPError, 401)

    monkeypatch.setattr(FakeApi, "create_repo", refuse)
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    with one_line("the Hub did not take 'me/tiny': status 401, not allowed; pass a token"):
        tiny.push_to_hub("me/tiny")
    with one_line("a model must be an existing folder or a Hub id like"):
        tiny.push_to_hub("a/b/c")
