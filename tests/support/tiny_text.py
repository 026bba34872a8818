"""Text models that are small enough to make for a test, saved as the library saves them; and an encoder of ours."""

import hashlib
import warnings

import torch

from var.text import TextFeatures, checked_texts

WORDS = ("<pad>", "<s>", "</s>", "<unk>", "a", "large", "red", "blue", "circle", "square", "on", "ground")


class LetterEncoder:
    """Counts letters: an encoder of 20 lines, for whoever takes any object of the protocol."""

    def __init__(self, width=6, name="letters"):
        self.width, self.sequence_width, self.name = width, width, name
        self.digest = hashlib.sha256(f"{name} {width}".encode()).hexdigest()[:32]
        self.asked = []

    def __call__(self, texts, *, sequences=False):
        lines = checked_texts(texts, "texts")
        self.asked += lines
        counts = [[line.count("abcdefghij"[place]) / 2 for place in range(self.width)] for line in lines]
        vectors = torch.tensor(counts).reshape(-1, self.width)
        if not sequences:
            return TextFeatures(vectors)
        return TextFeatures(vectors, vectors[:, None], torch.ones(len(lines), 1, dtype=torch.bool))


def save_tokenizer(folder, words=WORDS, longest=12):
    """Of whole words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    named = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=longest, **named).save_pretrained(folder)


def save_text_model(folder, kind="bert", seed=0, **changes):
    """A model of the library with random weights, and its words; kinds: bert, mlm (BERT without pooler), clip, t5."""
    import transformers
    from transformers.utils import logging

    size = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 8, "intermediate_size": 16}
    ids = {"vocab_size": len(WORDS), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    places = {"max_position_embeddings": 12}
    torch.manual_seed(seed)
    logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind in ("bert", "mlm"):
            config = transformers.BertConfig(**{**size, **ids, **places, **changes})
            model = (transformers.BertModel if kind == "bert" else transformers.BertForMaskedLM)(config)
        elif kind == "clip":
            text = {**size, **ids, **places, "projection_dim": 6, **changes}
            vision = {**size, "image_size": 8, "patch_size": 4}
            model = transformers.CLIPModel(
                transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=6)
            )
        else:
            config = {"num_layers": 1, "num_heads": 2, "d_model": 8, "d_kv": 4, "d_ff": 16, "decoder_start_token_id": 0}
            model = transformers.T5ForConditionalGeneration(transformers.T5Config(**{**config, **ids, **changes}))
        model.save_pretrained(folder)
        save_tokenizer(folder)
    return folder
