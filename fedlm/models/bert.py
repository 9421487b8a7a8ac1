"""BERT from a preset of KerasHub, for masked-token prediction, with adapters or trained as a whole.

Devlin et al. 2019, https://arxiv.org/abs/1810.04805. Most presets have no weights for the
masked-token head. Then the head starts at random values of the seed, and is trained, summed and
sent with the adapters.
"""

import keras

from fedlm.layers.pretrained import loading, model_of
from fedlm.layers.stack import check_rates
from fedlm.text.presets import PresetKind, open_preset

MASKED = True  # it sees both sides of a hidden token, and cannot continue a text
PRESET = {"name": "bert", "backbone": "BertBackbone", "tokenizer": "word pieces"}
MAY_BE_ZERO = ("lora_rank",)


def build(
    *,
    vocab_size: int,  # noqa: ARG001 - the preset's vocabulary has its own size
    seq_len: int,
    preset: str = "",
    sha256: str = "",
    lora_rank: int = 8,
    lora_alpha: float = 16.0,
    targets: str = "query value",
    train_a: bool = True,
    dropout: float = 0.1,
) -> keras.Model:
    """Returns a model from ids (batch, seq_len) int32 to logits (batch, seq_len, vocab_size) float32.

    Args:
      vocab_size: follows from the preset.
      seq_len: at least 3 (a start, a token and an end), at most the preset's positions.
      preset: a folder, or a name on a hub. sha256: its artifact hash.
      lora_rank: 0 trains every weight. lora_alpha, targets, train_a: see `fedlm/layers/lora.py`.
      dropout: of the backbone.
    """
    check_rates(dropout=dropout)
    if seq_len < 3:
        raise ValueError(f"Expected {seq_len=} >= 3: a start, a token and an end.")
    opened = open_preset(PresetKind(**PRESET), preset, sha256, seq_len)
    import keras_hub

    with loading(opened):
        backbone = keras_hub.models.BertBackbone.from_preset(str(opened.folder), dropout=dropout)
        task = keras_hub.models.BertMaskedLM(backbone)
        if opened.has_head:
            task.load_task_weights(str(opened.folder / "task.weights.h5"))
    backbone.pooled_dense.trainable = False  # it leads to no logit
    return model_of(
        task,
        opened,
        seq_len=seq_len,
        lora_rank=lora_rank,
        lora_alpha=lora_alpha,
        targets=targets,
        train_a=train_a,
        unfrozen=() if opened.has_head else (task.masked_lm_head,),
        hides_padding=True,
    )
