"""A receipt is checked without the vault, against a key that was fetched before; whoever alters, swaps or repeats one is told."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from fedlm.cli.main import app
from fedlm.config import RunConfig
from fedlm.errors import ConfigError, FedLMError, VaultError
from fedlm.preparation.vault import prepare
from fedlm.vault.keys import KeySource
from fedlm.vault.operations import forget
from fedlm.vault.receipts import LARGEST, check_receipt, parse_receipt, read_public_key

RULES = RunConfig.checked({"scrub": "none"})
Receipt = dict[str, Any]


def run(*words: object) -> str:
    """Runs the command line; raises its error."""
    done = CliRunner().invoke(app, list(map(str, words)), standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, str, Receipt]:
    """A folder with two vaults, the public key of the first, and a receipt from it. The vaults are gone."""
    for name in ("v", "w"):
        rows = [{"user": u, "text": f"{u} says {i}"} for u in "abc" for i in range(4)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        source = KeySource(tmp_path / f"{name}.db.key")
        prepare(str(tmp_path / f"{name}.jsonl"), tmp_path / f"{name}.db", source, RULES, lambda *_: None)
    run("receipt", "key", tmp_path / "v.db", "--out", tmp_path / "v.pub")
    source = KeySource(tmp_path / "v.db.key")
    receipt = forget(tmp_path / "v.db", source, "a", "case 12")
    (tmp_path / "other.json").write_text(json.dumps(forget(tmp_path / "w.db", KeySource(tmp_path / "w.db.key"), "a")))
    (tmp_path / "second.json").write_text(json.dumps(forget(tmp_path / "v.db", source, "b")))
    for file in (*tmp_path.glob("*.db"), *tmp_path.glob("*.key")):
        file.unlink()
    return tmp_path, (tmp_path / "v.pub").read_text().strip(), receipt


def verified(folder: Path, content: str | bytes, key: object, *more: str) -> str:
    file = folder / "r.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return run("receipt", "verify", file, "--public-key", key, *more)


def test_a_receipt_is_checked_without_the_vault(made: tuple[Path, str, Receipt]) -> None:
    folder, key, receipt = made
    text = json.dumps(receipt)
    for form in (folder / "v.pub", key, key.upper(), base64.b64encode(bytes.fromhex(key)).decode()):
        told = verified(folder, text, form)
        assert told.startswith("genuine") and receipt["row_id"] in told
    shown = json.loads(verified(folder, text, key, "--json", "--reference", "case 12"))
    assert shown == {"genuine": True, **receipt}
    assert key not in text  # a key that travels with the receipt would vouch for itself
    assert not {"a", "b"} & {str(v) for v in receipt.values()}  # it names nobody


def resigned(receipt: Receipt, **changes: Any) -> Receipt:
    """The receipt as an attacker signs it, with the attacker's key in it under every name that a checker might read."""
    attacker = Ed25519PrivateKey.generate()
    own = attacker.public_key().public_bytes_raw().hex()
    content = {**receipt, **changes, "public_key": own, "key": own}
    content.pop("signature")
    message = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return {**content, "signature": attacker.sign(message).hex()}


FORGERIES: dict[str, Callable[[Receipt], Receipt]] = {
    "signed by an attacker, with the attacker's key inside": resigned,
    "another client, signed by an attacker": lambda r: resigned(r, row_id="00" * 16),
    "a field more": lambda r: {**r, "more": "x"},
    "a field fewer": lambda r: {k: v for k, v in r.items() if k != "reference"},
    "another kind": lambda r: {**r, "receipt": "unlearning"},
    "another time": lambda r: {**r, "when": "2000-01-01T00:00:00Z"},
    "a field within a field": lambda r: {**r, "verification": {**r["verification"], "row": "there"}},
    "no signature": lambda r: {k: v for k, v in r.items() if k != "signature"},
    "an empty signature": lambda r: {**r, "signature": ""},
    "a signature of zeros": lambda r: {**r, "signature": "00" * 64},
    "a signature in capitals": lambda r: {**r, "signature": r["signature"].upper()},
    "a signature with spaces": lambda r: {**r, "signature": " ".join(r["signature"])},
    "a signature that is no text": lambda r: {**r, "signature": 7},
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_receipt_is_refused(made: tuple[Path, str, Receipt], name: str) -> None:
    folder, key, receipt = made
    with pytest.raises(VaultError, match="altered, or another key"):
        verified(folder, json.dumps(FORGERIES[name](receipt)), key)


def test_a_receipt_of_another_vault_is_refused(made: tuple[Path, str, Receipt]) -> None:
    folder, key, _ = made
    with pytest.raises(VaultError, match="altered, or another key"):
        verified(folder, (folder / "other.json").read_bytes(), key)


def test_an_earlier_receipt_does_not_answer_another_request(made: tuple[Path, str, Receipt]) -> None:
    folder, key, receipt = made
    for earlier in (json.dumps(receipt), (folder / "second.json").read_text()):  # with another reference, with none
        with pytest.raises(VaultError, match="does not answer this request"):
            verified(folder, earlier, key, "--reference", "case 13")


NOT_RECEIPTS = {
    "not JSON": b"receipt: deletion",
    "empty": b"",
    "not UTF-8": b'{"what": "\xff"}',
    "a list": b"[]",
    "a number": b"1",
    "NaN": b'{"what": NaN}',
    "infinity": b'{"what": -Infinity}',
    "a key twice": b'{"when": "1", "when": "2"}',
    "a key twice, inside": b'{"a": {"when": 1, "when": 2}}',
    "deeply nested": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "a number of thousands of digits": b'{"a":' + b"9" * 5000 + b"}",
    "huge": b'{"a": "' + b"x" * LARGEST + b'"}',
    "a receipt before megabytes of spaces": b'{"a": "x"}' + b" " * 2**22,
}


@pytest.mark.parametrize("name", NOT_RECEIPTS)
def test_what_is_no_receipt_is_refused_in_a_sentence(made: tuple[Path, str, Receipt], name: str) -> None:
    folder, key, _ = made
    with pytest.raises(VaultError, match="not a receipt"):
        verified(folder, NOT_RECEIPTS[name], key)


def test_a_key_twice_is_refused_although_the_last_one_was_signed(made: tuple[Path, str, Receipt]) -> None:
    """A reader that takes the first of two values would see a statement that nobody signed."""
    _, key, receipt = made
    twice = json.dumps(receipt).replace("{", '{"when": "2000-01-01T00:00:00Z", ', 1)
    check_receipt(json.loads(twice), bytes.fromhex(key))  # Python's own reader takes the last
    with pytest.raises(VaultError, match="not a receipt"):
        parse_receipt(twice.encode())


@pytest.mark.parametrize("given", ["", "00", "zz" * 32, "nowhere.pub", "AA==", "\0"])
def test_what_is_no_public_key_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="32 bytes"):
        read_public_key(given)


def test_the_receipt_itself_is_no_public_key(made: tuple[Path, str, Receipt]) -> None:
    folder, _, receipt = made
    with pytest.raises(ConfigError, match="32 bytes"):
        verified(folder, json.dumps(resigned(receipt)), folder / "r.json")


def test_an_impossible_reference_destroys_nothing(tmp_path: Path) -> None:
    for reference in ("x" * 201, "two\nlines"):
        with pytest.raises(FedLMError, match="reference"):
            forget(tmp_path / "absent.db", KeySource(tmp_path / "absent.key"), "a", reference)
