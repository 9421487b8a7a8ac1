"""Key providers for the vault's tests."""

from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pytest

from fedlm.vault import providers
from tests.support.memory_keyring import Ring

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ring() -> Iterator[Ring]:
    before, mine = keyring.get_keyring(), Ring()
    keyring.set_keyring(mine)
    yield mine
    keyring.set_keyring(before)


@pytest.fixture
def kms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("KMS_FILE", str(tmp_path / "kms.json"))
    return "tests.support.small_kms:service"


@pytest.fixture
def low_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lowest cost that a vault may state."""
    monkeypatch.setattr(providers, "_LOG2_N", 15)
