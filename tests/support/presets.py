"""Small random presets, saved as KerasHub saves real ones."""

import json
import string
from pathlib import Path

import keras
import keras_hub
import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from fedlm.text.presets import PresetKind

TEXT = "the cat sat on the mat, isn't it? The dog's bone 1234. thine own and the king's men: go to!"
WORDS = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "and", "##ing", "you"]
WIDTH, FEEDFORWARD, POSITIONS = 16, 32, 48


def _spread(backbone: keras.Model, seed: int) -> None:
    """Gives symbols and places vectors that are far apart, as after pretraining; adapters cannot move them."""
    rng = np.random.default_rng(seed)
    for variable in (v for v in backbone.variables if v.path.startswith(("token_emb", "position_emb"))):
        variable.assign(rng.normal(0, 0.5, variable.shape))


def save_gpt2(folder: Path, *, layers: int = 1, end_first: bool = False, seed: int = 1) -> Path:
    """Saves a random GPT-2 over byte pairs; its end symbol has the last id, as in the real ones, or the first."""
    keras.utils.set_random_seed(seed)
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learner.train_from_iterator([TEXT] * 3, trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    model = json.loads(learner.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    tokens.insert(0 if end_first else len(tokens), "<|endoftext|>")
    merges = [" ".join(pair) for pair in model["merges"]]
    vocabulary = {token: place for place, token in enumerate(tokens)}
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=len(tokens),
        num_layers=layers,
        num_heads=2,
        hidden_dim=WIDTH,
        intermediate_dim=FEEDFORWARD,
        max_sequence_length=POSITIONS,
    )
    _spread(backbone, seed)
    backbone.save_to_preset(str(folder))
    keras_hub.tokenizers.GPT2Tokenizer(vocabulary=vocabulary, merges=merges).save_to_preset(str(folder))
    return folder


def save_bert(folder: Path, *, head: bool = True, seed: int = 1) -> Path:
    """Saves a random BERT over letters and a few words, with its masked-token head or without, as most real ones are."""
    keras.utils.set_random_seed(seed)
    signs = [*string.ascii_lowercase, *string.digits, *".,!?;:'-"]
    tokenizer = keras_hub.tokenizers.BertTokenizer(
        vocabulary=[*WORDS, *signs, *(f"##{c}" for c in string.ascii_lowercase)], lowercase=True, strip_accents=True
    )
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        num_layers=1,
        num_heads=2,
        hidden_dim=WIDTH,
        intermediate_dim=FEEDFORWARD,
        max_sequence_length=POSITIONS,
    )
    _spread(backbone, seed)
    task = keras_hub.models.BertMaskedLM(backbone) if head else backbone
    task.save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))
    return folder


def save_preset(kind: PresetKind, folder: Path) -> Path:
    """Saves a random preset of a kind."""
    return {"byte pairs": save_gpt2, "word pieces": save_bert}[kind.tokenizer](folder)
