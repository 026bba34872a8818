"""Text models of the library `transformers`, from a local folder: their vectors and sequences."""

import hashlib
import json
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from var.devices import check_device
from var.errors import UserError, first_line
from var.foreign.documents import read_json
from var.foreign.weights import is_finite, not_finite, opened_tensors, ordinary_tensors
from var.text.encoders import TextFeatures
from var.text.lines import checked_texts
from var.weights import add_to_digest

FILES = (
    *("config.json", "model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"),
    *("modules.json", "1_Pooling/config.json", "sentence_bert_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "sentencepiece.model"),
)
"""What is fetched of a text model on the Hub."""

VOLATILE = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")
"""What a config says that changes nothing of what is computed here."""
BATCH = 64
"""Texts encoded at once."""
LONGEST = 512
"""Pieces of a text that are read where neither the model nor its files set a limit."""
PROBES = ("A large RED circle, 2 x; on a blue ground!", "naïve café — 東京 🙂")
"""Texts whose pieces tell ways of cutting apart that have the same vocabulary."""


class PretrainedTextEncoder:
    """A text model in a `folder`, in float32 and without gradients; `name` says how to open it again.

    Its vector of a text is what the model projects for it (CLIP, arXiv 2103.00020), else what it pools, else the mean
    over the pieces (T5, arXiv 1910.10683). A folder in the layout of sentence encoders says the pooling itself. Texts
    of more pieces than the model reads are cut at the end.
    """

    def __init__(self, name: str, folder: Path, *, device: torch.device | str | None = None) -> None:
        self.name = name
        if device is not None:
            check_device(device)
        with _library(folder), ordinary_tensors():
            self._recipe = recipe_in(folder)
            self._tokenizer, self._model, self._pooled = _loaded(folder)
            self._longest = min(self._recipe.longest or LONGEST, _limit(self._tokenizer, self._model))
            self._model.to(device)
            probe = self([PROBES[0]], sequences=True)
        assert probe.sequence is not None
        self.width, self.sequence_width = probe.vectors.shape[1], probe.sequence.shape[2]
        self.digest = self._digest(read_json(folder / "config.json"))

    @torch.no_grad()
    def __call__(self, texts: Sequence[str], *, sequences: bool = False) -> TextFeatures:
        """The features of `texts`, see `TextEncoder`."""
        return encoded_in_parts(texts, self._encoded, sequences=sequences)

    def _encoded(self, lines: list[str]) -> TextFeatures:
        pieces = self._tokenizer(lines, padding=True, truncation=True, max_length=self._longest, return_tensors="pt")
        pieces = pieces.to(self._model.device)
        with torch.autocast(self._model.device.type, enabled=False):
            found = self._model(**pieces)
        mask, rows = pieces["attention_mask"].bool(), found.last_hidden_state
        if self._recipe.pooling is not None:
            vectors = rows[:, 0] if self._recipe.pooling == "first" else mean_of_pieces(rows, mask)
        elif self._pooled and (own := _own_vectors(found)) is not None:
            vectors = own
        else:
            vectors = mean_of_pieces(rows, mask)
        return TextFeatures(of_usual_length(vectors).cpu(), rows.cpu(), mask.cpu())

    def _digest(self, config: dict[str, Any]) -> str:
        probes = [self._tokenizer(text)["input_ids"] for text in PROBES]
        about = (type(self._model).__name__, config, self._recipe, self._pooled, self._longest)
        return encoder_digest(about, self._tokenizer.get_vocab(), probes, self._model.state_dict())


class Recipe(NamedTuple):
    """What a folder in the layout of sentence encoders says: how pieces are pooled, and how long texts may be."""

    pooling: str | None = None
    longest: int | None = None  # in pieces


def encoded_in_parts(
    texts: Sequence[str], encoded: Callable[[list[str]], TextFeatures], *, sequences: bool
) -> TextFeatures:
    """What `encoded` makes of `BATCH` texts at once, joined; raises `UserError` for what are no texts, or none."""
    lines = checked_texts(texts, "texts")
    if not lines:
        raise UserError("texts must be one or more, got none; pass some")
    found = TextFeatures.joined([encoded(lines[start : start + BATCH]) for start in range(0, len(lines), BATCH)])
    return found if sequences else TextFeatures(found.vectors)


def encoder_digest(
    about: tuple[str, dict[str, Any], Recipe, bool, int],
    vocabulary: Mapping[str, int],
    probes: list[list[int]],
    weights: Mapping[str, Tensor],
) -> str:
    """32 hex digits that name the weights and what is computed with them, and how texts are cut and pooled.

    `about` is the name of the model's class, its config, the recipe, whether it pools, and how many pieces it reads.
    """
    kind, config, recipe, pooled, longest = about
    words = sorted(vocabulary.items(), key=lambda item: (item[1], item[0]))
    told = {name: value for name, value in config.items() if name not in VOLATILE}
    text = json.dumps([kind, told, *recipe, pooled, longest, words, probes], sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    add_to_digest(digest.update, sorted(weights.items()))
    return digest.hexdigest()


def recipe_in(folder: Path) -> Recipe:
    """The recipe in a folder; raises `UserError` for one that is not followed here."""
    if not (folder / "modules.json").exists():
        return Recipe()
    modules = [str(each.get("type")).rpartition(".")[2] for each in read_json(folder / "modules.json", list)]
    pooling = read_json(folder / "1_Pooling" / "config.json")
    chosen = [name for name, value in pooling.items() if name.startswith("pooling_mode_") and value is True]
    known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first"}
    if modules not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]) or len(chosen) != 1:
        raise unfit(folder, f"its parts are {', '.join(modules)} with {len(chosen)} poolings")
    if chosen[0] not in known:
        raise unfit(folder, f"it pools by {chosen[0]}")
    path = folder / "sentence_bert_config.json"
    longest = read_json(path).get("max_seq_length") if path.exists() else None
    if longest is not None and (type(longest) is not int or longest < 2):
        raise unfit(folder, f"its max_seq_length is {longest!r:.40}")
    return Recipe(known[chosen[0]], longest)


def _loaded(folder: Path) -> tuple[Any, Any, bool]:
    """Tokenizer and model in a folder, and whether what the model pools is trained."""
    from transformers import AutoConfig, AutoTokenizer

    stored = _check_files(folder)
    own = {"local_files_only": True, "trust_remote_code": False}
    config = AutoConfig.from_pretrained(folder, **own)
    config = getattr(config, "text_config", config)
    cls = _model_class(config, folder)
    with torch.device("meta"):
        needed = sum(weight.numel() for weight in cls(config).parameters())
    # What is missing would be drawn at random, in any size that the config says; twice leaves room for a pooler.
    if needed > 2 * stored:
        raise unfit(folder, f"its config asks for {needed:,} numbers of {stored:,}")
    tokenizer = AutoTokenizer.from_pretrained(folder, **own)
    del own["trust_remote_code"]
    how = {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True, "attn_implementation": "sdpa"}
    with torch.random.fork_rng(devices=[]):  # for what is missing, which is drawn
        model, told = cls.from_pretrained(folder, **own, **how)
    missing = sorted(told["missing_keys"])
    pooled = not any("pooler" in name for name in missing)
    if strangers := [name for name in missing if "pooler" not in name]:
        raise unfit(folder, f"{strangers[0]} is missing of its weights")
    for name, weight in model.state_dict().items():
        if name in missing:
            weight.zero_()  # a pooler that is not asked: the digest is that of what is stored
        if not is_finite(weight):
            raise not_finite(folder, name)
    return tokenizer, model.eval().requires_grad_(False), pooled


def _check_files(folder: Path) -> int:
    """How many numbers the weights in a folder have; raises `UserError` for files that are not whole."""
    read_json(folder / "config.json")
    weights = sorted(folder.glob("model*.safetensors"))
    if not weights:
        raise unfit(folder, "it holds no model.safetensors")
    stored = 0
    for path in weights:
        with opened_tensors(path) as file:
            stored += sum(math.prod(shape) for shape, _ in file.kinds().values())
    return stored


def _model_class(config: Any, folder: Path) -> Any:
    """The class of the text model that a config is of: with a projection where there is such a one."""
    import transformers
    from transformers import AutoModel, AutoModelForTextEncoding

    for table in (AutoModelForTextEncoding, AutoModel):
        if type(config) in table._model_mapping:
            found: Any = table._model_mapping[type(config)]
            cls = found[0] if isinstance(found, tuple) else found
            return getattr(transformers, f"{cls.__name__}WithProjection", cls)
    raise unfit(folder, f"it is a {type(config).__name__}")


def _limit(tokenizer: Any, model: nn.Module) -> int:
    """Pieces that the model has places for; models of relative places have no limit."""
    places = getattr(model.config, "max_position_embeddings", None) or LONGEST
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            places -= module.padding_idx + 1  # pyright: ignore[reportOperatorIssue] (RoBERTas count from behind it)
    return int(min(tokenizer.model_max_length, places))


def _own_vectors(found: Any) -> Float[Tensor, "batch width"] | None:
    """What a model itself says of whole texts."""
    projected = getattr(found, "text_embeds", None)
    return getattr(found, "pooler_output", None) if projected is None else projected


def of_usual_length(vectors: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
    """Of the length sqrt(width), see `TextFeatures`."""
    return F.normalize(vectors, dim=1) * vectors.shape[1] ** 0.5


def mean_of_pieces(
    rows: Float[Tensor, "batch length width"], mask: Bool[Tensor, "batch length"]
) -> Float[Tensor, "batch width"]:
    """The mean over the pieces of each text."""
    weight = mask[..., None].to(rows.dtype)
    return (rows * weight).sum(1) / weight.sum(1).clamp(min=1)


@contextmanager
def _library(folder: Path) -> Iterator[None]:
    """Inside, the library shows neither bars nor warnings, and what it raises is a `UserError` of one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import transformers  # noqa: F401 - first, for its error
            from transformers.utils import logging as library
        except ImportError as error:
            raise UserError(
                'text encoders need the library transformers, which is absent; pip install "next-scale[text]"'
            ) from error
        level, bars = library.get_verbosity(), library.is_progress_bar_enabled()
        library.set_verbosity(logging.CRITICAL)
        library.disable_progress_bar()
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # whatever it makes of the files of others
            raise unfit(folder, first_line(error)) from error
        finally:
            library.set_verbosity(level)
            if bars:
                library.enable_progress_bar()


def unfit(folder: Path, reason: str) -> UserError:
    """The error of a folder that holds no text model."""
    return UserError(f"{folder} must hold a text model in safetensors, but: {reason}; name another one")
