"""A selection that compares clients: adding one user to the corpus removes another from the vault.

Neighbours then differ in two clients, which a ledger for adding or removing one client does not cover. The first test shows
that it happens; the others, that no statement is made about such a vault.
"""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.messages.vocabulary import VocabularyRequest
from fedlm.preparation.vault import prepare
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from tests.support.owners import training

pytestmark = pytest.mark.flower
PRIVATE = {
    "mechanism": "gaussian",
    "weighting": "uniform",
    "clip_norm": 0.5,
    "noise_multiplier": 1.0,
    "sampling_rate": 0.5,
    "max_client_tokens": 8000,
    "model": "lstm(units=4, layers=1)",
}


def vault(folder: Path, users: int, **settings: object) -> closing[Vault]:
    """Returns the open vault of so many users."""
    folder.mkdir()
    lines = [{"user": f"u{i:02}", "text": f"tea {n}"} for i in range(users) for n in range(2)]
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = RunConfig(scrub="none", holdout_fraction=0.0, **settings)
    prepare(str(folder / "mine.jsonl"), folder / "v", KeySource(folder / "v.key"), config, lambda done, total: None)
    return closing(Vault(folder / "v", KeySource(folder / "v.key")))


def names(opened: Vault) -> set[str]:
    return {name for name, _ in opened.names()}


def test_one_user_more_evicts_another_under_max_clients(tmp_path: Path) -> None:
    evicted = 0
    for users in range(4, 12):
        with (
            vault(tmp_path / f"{users}", users, max_clients=4) as few,
            vault(tmp_path / f"{users}+1", users + 1, max_clients=4) as more,
        ):
            evicted += bool(names(few) - names(more))
    assert evicted >= 1


def test_one_user_more_evicts_nobody_otherwise(tmp_path: Path) -> None:
    for users, settings in ((4, {}), (9, {"min_documents": 2})):
        with (
            vault(tmp_path / f"{users}", users, **settings) as few,
            vault(tmp_path / f"{users}+1", users + 1, **settings) as more,
        ):
            assert names(few) < names(more) and len(names(more) - names(few)) == 1


@pytest.mark.parametrize("mechanism", ["gaussian", "adaptive", "local"])
def test_a_node_makes_no_statement_about_such_a_vault(tmp_path: Path, mechanism: str) -> None:
    from clients.node import Node

    config = RunConfig(**{**PRIVATE, "mechanism": mechanism})
    with (
        vault(tmp_path / "v", 6, max_clients=4) as opened,
        pytest.raises(ConfigError, match="one client's presence decide"),
    ):
        Node(opened).answer(training(config, opened.pseudonyms, told={"clip-norm": 0.5}))


@pytest.mark.parametrize("change", [lambda c: c, lambda c: {**c, "reproducible": False}])
def test_neither_does_a_private_vocabulary(
    tmp_path: Path, change: Callable[[dict[str, object]], dict[str, object]]
) -> None:
    from flwr.app import Message

    from clients.node import Node

    config = RunConfig(**change({"vocabulary": "private(epsilon=1.0)"}))  # type: ignore[arg-type]
    with vault(tmp_path / "v", 6, max_clients=4) as opened:
        request = VocabularyRequest(config.to_settings(), opened.pseudonyms)
        with pytest.raises(ConfigError, match="one client's presence decide"):
            Node(opened).answer(Message(request.content(), 2, request.kind))
