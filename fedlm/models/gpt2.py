"""GPT-2 from a preset of KerasHub, for next-token prediction, with adapters or trained as a whole.

Radford et al. 2019, Language Models are Unsupervised Multitask Learners. Adapters: Hu et al. 2022,
https://arxiv.org/abs/2106.09685.
"""

import keras

from fedlm.layers.pretrained import PretrainedSteps, loading, model_of, pretrained_part
from fedlm.layers.stack import check_rates
from fedlm.text.presets import PresetKind, open_preset

PRESET = {"name": "gpt2", "backbone": "GPT2Backbone", "tokenizer": "byte pairs"}
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
      seq_len: at most the preset's positions.
      preset: a folder, or a name on a hub. sha256: its artifact hash.
      lora_rank: 0 trains every weight. lora_alpha, targets, train_a: see `fedlm/layers/lora.py`.
      dropout: of the backbone.
    """
    check_rates(dropout=dropout)
    opened = open_preset(PresetKind(**PRESET), preset, sha256, seq_len)
    import keras_hub

    with loading(opened):
        backbone = keras_hub.models.GPT2Backbone.from_preset(str(opened.folder), dropout=dropout)
    return model_of(
        keras_hub.models.GPT2CausalLM(backbone),
        opened,
        seq_len=seq_len,
        lora_rank=lora_rank,
        lora_alpha=lora_alpha,
        targets=targets,
        train_a=train_a,
    )


def decoder(model: keras.Model) -> PretrainedSteps:
    """Returns what reads the model symbol by symbol; see `fedlm.training.decoding`."""
    part = pretrained_part(model)
    if part is None:
        raise ValueError("Expected a model of `build`.")
    return PretrainedSteps(part, int(model.input_shape[1]))
