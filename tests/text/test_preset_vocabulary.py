"""Tokenizers of presets: the ids that KerasHub's own give, characters counted, masks drawn by the rules."""

import json
import shutil
from pathlib import Path

import keras_hub
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.models.catalog import preset_kind
from fedlm.scrub.kinds import Kind
from fedlm.text.preset_vocabulary import BytePairs, WordPieces, word_pieces
from fedlm.text.presets import PRESETS, _read, open_preset
from fedlm.text.rows import hide, num_hidden, whole_rows
from fedlm.text.vocabulary import END, PAD, SPECIALS, START, UNKNOWN
from tests.support.presets import POSITIONS, save_bert, save_gpt2

pytestmark = pytest.mark.slow
TEXTS = [
    "The cat sat on thine own mat; isn't the king's men's 1234?  ",
    "two\n\nlines\tand  blanks   \n",
    "é€ naïve café 中文 字 — “quoted” x_y __init__ a/b",
    "",
    " ",
    "z" * 130,
]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_gpt2(tmp_path_factory.mktemp("gpt2") / "g")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("bert") / "b")


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_ids_are_those_of_kerashub(kind: str, gpt2: Path, bert: Path) -> None:
    folder = {"gpt2": gpt2, "bert": bert}[kind]
    own = keras_hub.models.Tokenizer.from_preset(str(folder))
    vocab = open_preset(preset_kind(kind), str(folder)).vocabulary
    for text in TEXTS:
        found = [vocab.order[i] for i in vocab.encode(text)]
        assert found == np.asarray(own(text)).tolist(), text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_byte_pairs_give_every_text_back_and_count_its_characters(text: str) -> None:
    vocab = _letters()
    ids = vocab.encode(text)
    assert vocab.decode(ids) == text and vocab.characters[ids].sum() == len(text)


def _letters() -> BytePairs:
    from fedlm.text.learned import byte_of
    from fedlm.text.preset_vocabulary import byte_pairs

    return byte_pairs({t: i for i, t in enumerate([*byte_of(), "<|endoftext|>", "th", "the"])}, ["t h", "th e"])


def test_a_text_cannot_spell_the_end() -> None:
    vocab = _letters()
    assert END not in vocab.encode("a<|endoftext|>b") and vocab.order[:SPECIALS] == (-1, -1, 256, -1)
    assert vocab.symbols[SPECIALS + 256 :] == ("th", "the") and vocab.order[-2:] == (257, 258)


def test_word_pieces_by_hand() -> None:
    tokens = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "go", "##ing", "to", "!"]
    vocab = word_pieces(tokens, lowercase=True, strip_accents=True)
    assert isinstance(vocab, WordPieces) and vocab.order == (0, 3, 4, 2, 1, 5, 6, 7, 8, 9)
    ids = vocab.encode(f"Gòing to {Kind.PERSON.placeholder}! xyz")
    assert [tokens[vocab.order[i]] for i in ids] == ["go", "##ing", "to", "[unused0]", "!", "[UNK]"]
    assert vocab.characters[ids].tolist() == [2, 3, 2, 9, 1, 1] and vocab.decode(ids[:3]) == " going to"


def test_masks_follow_the_rules(bert: Path) -> None:
    vocab = open_preset(preset_kind("bert"), str(bert)).vocabulary
    documents = ["the cat and you go to the king. " * 90, "a", ""]
    inputs, targets = whole_rows(documents, vocab, 34)
    assert (inputs[:, 0] == START).all() and set(targets[inputs < UNKNOWN]) == {PAD}
    shown, hidden = hide(inputs, targets, vocab, np.random.default_rng(0))
    at = hidden > 0
    np.testing.assert_array_equal(hidden[at], targets[at])
    np.testing.assert_array_equal(shown[~at], inputs[~at])
    lengths = (targets > 0).sum(1)
    assert [int(n) for n in at.sum(1)] == [max(1, round(0.15 * int(n))) for n in lengths]
    assert at.sum() == num_hidden(targets)
    share = (shown[at] == vocab.mask).mean()
    assert abs(share - 0.8) < 4 * np.sqrt(0.16 / at.sum())  # four standard deviations
    again, other = (hide(inputs, targets, vocab, np.random.default_rng(s))[0] for s in (0, 1))
    assert np.array_equal(again, shown) and not np.array_equal(other, shown)


def test_a_run_holds_the_hash_of_its_preset_and_nodes_check_it(
    gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(gpt2, folder)
    (tmp_path / "c.toml").write_text("model = \"gpt2(preset='mine', lora_rank=2)\"\nseq_len = 8\n")
    config = RunConfig.load(tmp_path / "c.toml")
    assert config.spec("model").options["sha256"] == open_preset(preset_kind("gpt2"), str(folder)).sha256
    sent = json.loads(config.to_settings())
    assert RunConfig.checked(sent).vocab.size == config.vocab.size and sent["vocabulary_text"] == ""
    other = tmp_path / "node" / "mine"
    save_gpt2(other, seed=2)  # same shape and vocabulary, other weights
    monkeypatch.setenv(PRESETS, str(other.parent))
    with pytest.raises(ConfigError, match="every node must hold the same frozen weights"):
        RunConfig.checked(sent).vocab  # noqa: B018
    shutil.rmtree(other)
    _read.cache_clear()
    with pytest.raises(ConfigError, match="This node has no preset 'mine'"):
        RunConfig.checked(sent).vocab  # noqa: B018
    shutil.copytree(folder, other)
    assert RunConfig.checked(sent).vocab.size == config.vocab.size


def test_a_coordinator_needs_the_hash_only(tmp_path: Path) -> None:
    config = RunConfig.load(None, ["model=gpt2(preset='elsewhere', sha256='ab')"])
    assert config.spec("model").options == {"preset": "elsewhere", "sha256": "ab"}


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("model=gpt2", "needs a preset"),
        ("model=gpt2(preset='nowhere')", "There is no preset 'nowhere'"),
        ("model=gpt2(preset='EMPTY')", "is not a preset's folder"),
        ("model=bert(preset='GPT2')", "takes a BertBackbone"),
        ("model=gpt2(preset='BARE')", r"has no tokenizer \(byte pairs\)"),
        ("model=gpt2(preset='LIGHT')", "has no weights"),
        ("model=gpt2(preset='GPT2', rank=8)", "has no option 'rank'; its options are: preset, sha256, lora_rank"),
        ("model=gpt2(preset='GPT2', sha256='00')", "not the run's 00"),
        ("model=gpt2(preset='hf://a', lora_rank='8')", "is not a whole number"),
    ],
)
def test_bad_presets_are_one_sentence(setting: str, says: str, gpt2: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, gone in (("bare", "assets/tokenizer/merges.txt"), ("light", "model.weights.h5")):
        shutil.copytree(gpt2, tmp_path / name)
        (tmp_path / name / gone).unlink()
    for word, folder in {"GPT2": gpt2, **{n.upper(): tmp_path / n for n in ("empty", "bare", "light")}}.items():
        setting = setting.replace(f"'{word}'", repr(str(folder)))
    with pytest.raises(ConfigError, match=says) as caught:
        RunConfig.load(None, [setting, "seq_len=8"])
    assert "\n" not in str(caught.value)


def test_other_bad_input(gpt2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = f"model=gpt2(preset={str(gpt2)!r})"
    with pytest.raises(ConfigError, match=f"longer than the {POSITIONS} positions"):
        RunConfig.load(None, [model, f"seq_len={POSITIONS + 1}"])
    with pytest.raises(ConfigError, match="does not fit the model gpt2"):
        RunConfig.load(None, [model, "vocabulary=bytes"])
    with pytest.raises(ConfigError, match="does not fit the model lstm"):
        RunConfig.load(None, ["vocabulary=preset"])
    monkeypatch.setattr("fedlm.text.presets.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install fedlm\[hub\]"):
        RunConfig.load(None, [model])
