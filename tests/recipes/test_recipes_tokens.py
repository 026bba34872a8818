"""The cache of tokens: what encoding would give, looked up by index, in as many variants as asked for."""

import json
import resource

import pytest
import torch
from tiny import tiny_transformer, tiny_vqvae

from var.conditions import Condition
from var.data import ArrayData, Compose, HorizontalFlip, Shift
from var.data.batches import Batch
from var.errors import UserError
from var.randomness import keyed_generator
from var.recipes.transformer.task import TransformerTask
from var.recipes.transformer.token_cache import BATCH, TokenCache
from var.recipes.transformer.token_cache_files import tokenizer_digest

COUNT = BATCH + 20  # a whole batch and a part of one


def make_vqvae(vocabulary=16):
    torch.manual_seed(3)
    return tiny_vqvae(vocabulary=vocabulary, attention=True).eval()


@pytest.fixture(scope="module")
def vqvae():
    return make_vqvae()


@pytest.fixture(scope="module")
def data():
    images = torch.rand(COUNT, 1, 6, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return ArrayData(images, torch.arange(COUNT) % 5)


@torch.no_grad()
def encoded(vqvae, data):
    return vqvae.config.schedule.flatten(vqvae.encode(data.images))


def make_cache(data, vqvae, **settings):
    return TokenCache.of(data, vqvae, progress=False, **settings)


def test_one_variant_holds_the_tokens_of_every_image(vqvae, data):
    cache = make_cache(data, vqvae)
    assert cache.tokens.shape == (1, COUNT, 14)
    drawn = cache.draw(torch.arange(COUNT), torch.Generator())
    assert drawn.dtype == torch.long
    assert torch.equal(drawn, encoded(vqvae, data))
    chosen = torch.tensor([COUNT - 1, 0, 7, 7])
    assert torch.equal(cache.draw(chosen, torch.Generator()), drawn[chosen])


def test_variants_are_drawn_alike_and_by_the_seed(vqvae, data):
    before = torch.get_rng_state()
    cache = make_cache(data, vqvae, variants=3, temperature=0.5, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(cache.tokens, make_cache(data, vqvae, variants=3, temperature=0.5, seed=1).tokens)
    assert not torch.equal(cache.tokens, make_cache(data, vqvae, variants=3, temperature=0.5, seed=2).tokens)
    assert not torch.equal(cache.tokens[0], cache.tokens[1])
    # Tell which variant each draw took by the tokens of an image that differ in all of them.
    index = next(i for i in range(COUNT) if len(cache.tokens[:, i].unique(dim=0)) == 3)
    drawn = cache.draw(torch.full((3000,), index), torch.Generator().manual_seed(0))
    counts = torch.stack([(drawn == variant[index]).all(1).sum() for variant in cache.tokens])
    assert counts.sum() == 3000
    assert (counts - 1000).abs().max() < 4 * (3000 * 2 / 9) ** 0.5


def test_variants_at_temperature_zero_are_all_the_same(vqvae, data):
    cache = make_cache(data, vqvae, variants=2)
    assert torch.equal(cache.tokens[0], cache.tokens[1])


def test_training_on_the_cache_is_training_on_the_images(vqvae, data):
    model = tiny_transformer(depth=1)
    indices = torch.tensor([110, 3, 3, 40])
    batch = Batch(data.images[indices], Condition.of(data.labels[indices]), indices)
    task = TransformerTask(model, vqvae, label_drop=0.0)
    cached = TransformerTask(model, vqvae, label_drop=0.0, cache=make_cache(data, vqvae))
    expected, numbers = task.loss(model, batch, torch.Generator())
    found, same_numbers = cached.loss(model, batch, torch.Generator())
    torch.testing.assert_close(found, expected)
    assert set(numbers) == set(same_numbers)
    found.backward()
    assert model.head.weight.grad.any()
    # The images themselves are not looked at.
    blank = Batch(torch.zeros_like(batch.images), batch.condition, indices)
    torch.testing.assert_close(cached.loss(model, blank, torch.Generator())[0], expected)


def test_without_a_cache_every_step_draws_tokens_at_the_temperature(vqvae, data):
    task = TransformerTask(tiny_transformer(depth=1), vqvae, temperature=0.5)
    batch = Batch(data.images[:4], Condition.of(data.labels[:4]), torch.arange(4))
    first, again, other = (task.tokens_and_inputs(batch, torch.Generator().manual_seed(n))[0] for n in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_tokens_that_do_not_fit_16_bits_take_32(vqvae, data, tmp_path):
    assert make_cache(data, vqvae).tokens.dtype == torch.int16
    few, large = ArrayData(data.images[:8], data.labels[:8]), make_vqvae(vocabulary=2**15 + 1)
    assert make_cache(few, large).tokens.dtype == torch.int32
    cache = TokenCache.of(few, large, folder=tmp_path / "cache", progress=False)
    assert torch.equal(cache.draw(torch.arange(8), torch.Generator()), encoded(large, few))


def test_the_cache_needs_a_variant(vqvae, data):
    with pytest.raises(UserError, match="needs 1 variant or more, got 0"):
        make_cache(data, vqvae, variants=0)


AUGMENT = Compose([Shift(1), HorizontalFlip()])


def test_augmented_variants_are_the_tokens_of_augmented_images(vqvae, data):
    cache = make_cache(data, vqvae, variants=2, augment=AUGMENT, seed=4)
    for variant in range(2):
        images = [AUGMENT(data.load(i), keyed_generator("augment", 4, variant, i)) for i in range(COUNT)]
        changed = ArrayData(torch.stack(images), data.labels)
        assert torch.equal(cache.tokens[variant].long(), encoded(vqvae, changed))
    assert not torch.equal(cache.tokens[0], cache.tokens[1])


# On disk

PART = 2 * BATCH


@pytest.fixture(autouse=True)
def _small_files(monkeypatch):
    monkeypatch.setattr("var.recipes.transformer.token_cache.PART", PART)


@pytest.fixture(scope="module")
def long_data():
    """More than two files."""
    images = torch.rand(2 * PART + 130, 1, 6, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return ArrayData(images, torch.arange(len(images)) % 5)


@pytest.fixture(scope="module")
def settings():
    return {"variants": 2, "augment": HorizontalFlip(), "temperature": 0.3, "seed": 1}


@pytest.fixture(scope="module")
def in_memory(vqvae, long_data, settings):
    return make_cache(long_data, vqvae, **settings)


class Killed(BaseException):
    pass


class Fragile:
    """Data that lets the process end at one image, as a kill does."""

    def __init__(self, data, last):
        self.data, self.last = data, last
        self.classes, self.labels, self.shape = data.classes, data.labels, data.shape

    def __len__(self):
        return len(self.data)

    def load(self, index):
        if index == self.last:
            raise Killed
        return self.data.load(index)

    def describe(self, index):
        return self.data.describe(index)


def test_files_hold_what_memory_holds_and_are_encoded_once(vqvae, long_data, settings, in_memory, tmp_path):
    cache = TokenCache.of(long_data, vqvae, folder=tmp_path / "cache", progress=False, **settings)
    assert torch.equal(cache.tokens, in_memory.tokens)
    indices = torch.tensor([0, PART, PART - 1, 2 * PART + 129, 5, 5])
    drawn, expected = (some.draw(indices, torch.Generator().manual_seed(3)) for some in (cache, in_memory))
    assert torch.equal(drawn, expected)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [
        "cache.json",
        *(f"part-{number:06d}.safetensors" for number in range(3)),
    ]
    never = Fragile(long_data, last=0)
    never.__class__ = type("ArrayData", (Fragile,), {"identity": long_data.identity})  # of the same fingerprint
    again = TokenCache.of(never, vqvae, folder=tmp_path / "cache", progress=False, **settings)
    assert torch.equal(again.tokens, in_memory.tokens)


def test_an_interrupted_encoding_goes_on(vqvae, long_data, settings, in_memory, tmp_path):
    fragile = Fragile(long_data, last=PART + 130)
    with pytest.raises(Killed):
        TokenCache.of(fragile, vqvae, folder=tmp_path, progress=False, **settings)
    first = tmp_path / "part-000000.safetensors"
    before = first.stat().st_ino, first.stat().st_mtime_ns
    assert not (tmp_path / "part-000001.safetensors").exists()
    fragile.last = 7  # is not asked for again
    cache = TokenCache.of(fragile, vqvae, folder=tmp_path, progress=False, **settings)
    assert (first.stat().st_ino, first.stat().st_mtime_ns) == before
    assert torch.equal(cache.tokens, in_memory.tokens)


def test_processes_share_the_work(vqvae, long_data, settings, in_memory, tmp_path):
    with pytest.raises(UserError, match=r"must have 3 parts, got 2 \(part-000001.safetensors is missing\); let all"):
        TokenCache.of(long_data, vqvae, folder=tmp_path, progress=False, rank=0, world_size=2, **settings)
    waited = []
    options = {"rank": 1, "world_size": 2, "wait": lambda: waited.append(len(list(tmp_path.glob("part-*"))))}
    cache = TokenCache.of(long_data, vqvae, folder=tmp_path, progress=False, **options, **settings)
    assert waited == [3]
    assert torch.equal(cache.tokens, in_memory.tokens)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2}, "seed 1 instead of 2"),
        ({"variants": 3, "temperature": 0}, "variants 2 instead of 3, temperature 0.3 instead of 0.0"),
        ({"augment": None}, r"augmentation HorizontalFlip\(probability=0.5\) instead of None"),
        ({"data": "other"}, "got data [0-9a-f]{32} instead of [0-9a-f]{32}; delete it or choose another folder"),
        ({"vqvae": "other"}, "got tokenizer [0-9a-f]{32} instead of [0-9a-f]{32}"),
    ],
)
def test_a_cache_of_something_else_is_refused_by_name(vqvae, data, settings, tmp_path, change, message):
    few = ArrayData(data.images[:3], data.labels[:3])
    TokenCache.of(few, vqvae, folder=tmp_path, progress=False, **settings)
    now = {"data": few, "vqvae": vqvae, **settings} | change
    if change.get("data"):
        now["data"] = ArrayData(data.images[1:4], data.labels[:3])
    if change.get("vqvae"):
        now["vqvae"] = make_vqvae()
        now["vqvae"].encoder.state_dict()[next(iter(vqvae.encoder.state_dict()))].add_(1e-6)
    with pytest.raises(UserError, match=message) as caught:
        TokenCache.of(folder=tmp_path, progress=False, **now)
    assert "\n" not in str(caught.value)


def test_another_decoder_makes_no_other_tokens(vqvae):
    other = make_vqvae()
    assert tokenizer_digest(other) == tokenizer_digest(vqvae)
    with torch.no_grad():
        for weight in other.decoder.parameters():
            weight.add_(1)
    assert tokenizer_digest(other) == tokenizer_digest(vqvae)
    with torch.no_grad():
        other.quantizer.codebook.weight.mul_(1.001)
    assert tokenizer_digest(other) != tokenizer_digest(vqvae)


def test_damaged_and_foreign_files(vqvae, data, tmp_path, caplog):
    few = ArrayData(data.images[:3], data.labels[:3])
    TokenCache.of(few, vqvae, folder=tmp_path / "cache", progress=False)
    part = tmp_path / "cache" / "part-000000.safetensors"
    whole = part.read_bytes()
    TokenCache.of(few, vqvae, folder=tmp_path / "other", progress=False, seed=9)
    manifest = tmp_path / "cache" / "cache.json"
    damages = {
        part: [
            whole[:-5],
            whole[:-1] + bytes([whole[-1] ^ 1]),
            b"",
            b"x" * 999,
            (tmp_path / "other" / part.name).read_bytes(),
        ],
        manifest: [b"", b"[1]", b'{"kind": ', b"\xff", b"[" * 100_000, None],
    }
    damages[part].append(whole[:-1] + bytes([whole[-1] ^ 1]))  # a sister of F5: another token, and no word of it
    for path, contents in damages.items():
        for content in contents:
            path.unlink() if content is None else path.write_bytes(content)
            caplog.clear()
            again = TokenCache.of(few, vqvae, folder=tmp_path / "cache", progress=False)
            assert content is None or str(path) in caplog.text
            assert part.read_bytes() == whole  # F13: the same bytes too
            assert torch.equal(again.tokens, TokenCache.of(few, vqvae, progress=False).tokens)
            assert json.loads(manifest.read_text())["kind"] == "var token cache 1"
    for path in damages:
        path.unlink()
        path.symlink_to(path.name)
        assert torch.equal(TokenCache.of(few, vqvae, folder=tmp_path / "cache", progress=False).tokens, again.tokens)
        assert path.with_name(f"{path.name}.damaged").is_symlink()
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match=r"must be empty or a token cache, got '(cache|notes\.txt|other)' in it"):
        TokenCache.of(few, vqvae, folder=tmp_path, progress=False)
    (tmp_path / "cache" / "cache.json").write_text("{}")
    with pytest.raises(UserError, match=r"cache\.json must describe a token cache, got another file"):
        TokenCache.of(few, vqvae, folder=tmp_path / "cache", progress=False)


def test_a_disk_that_is_full_while_tokens_are_written_is_told_in_a_line(vqvae, data, tmp_path):
    """F4: the traceback of a library's own kind of exception."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))
    try:
        with pytest.raises(
            UserError, match=r"part-000000.safetensors must be writable, but: File too large; .*make room"
        ):
            TokenCache.of(data, vqvae, folder=tmp_path / "cache", variants=40, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["cache.json"]


def test_the_progress_bar_can_be_turned_off(vqvae, data, capsys):
    make_cache(data, vqvae)
    assert capsys.readouterr() == ("", "")
    TokenCache.of(data, vqvae)
    assert "encode" in capsys.readouterr().err
