"""A node that claims clients: others' pseudonyms, pseudonyms that it has invented, another's vault id, weights of no model."""

import json
import shutil
import stat
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from clients.deploy.keys import create_node_key, load_public_key
from fedlm.config import RunConfig
from fedlm.errors import CohortError, ConfigError, FedLMError
from fedlm.messages.discovery import DiscoveryReply
from fedlm.types import Pseudonyms, Weights
from server.deploy.members import CLAIMS, DEFAULT_MAX_CLIENTS, Members, set_max_clients
from server.engines.local import take_identity
from server.run.claims import settle
from server.run.discovery import Discovery, discover
from server.run.federation import Federation
from server.store.checkpoint import Checkpoint
from server.store.run_folder import RunFolder
from tests.support.nodes import Nodes

pytestmark = pytest.mark.flower
HONEST, LIAR, THIRD = 7, 8, 9
OWN = {HONEST: np.arange(100, 300, dtype=np.uint64), LIAR: np.arange(500, 510, dtype=np.uint64)}
ALL = np.arange(100, 510, dtype=np.uint64)
WEIGHTS: Weights = (np.zeros(3, np.float32),)


@pytest.fixture(autouse=True)
def identity() -> Iterator[None]:
    take_identity()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Node .* claims")
        yield


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Returns the file of a public key for each node."""
    return {node: create_node_key(tmp_path_factory.mktemp("key")) for node in (HONEST, LIAR, THIRD)}


@pytest.fixture
def folder(tmp_path: Path, keys: dict[int, Path]) -> Path:
    """Returns a coordinator's folder that admits all three nodes."""
    (tmp_path / "server" / "nodes").mkdir(parents=True)
    for node, file in keys.items():
        shutil.copy(file, tmp_path / "server" / "nodes" / f"owner-{node}.pub")
    return tmp_path / "server"


def members(folder: Path, keys: dict[int, Path]) -> Members:
    return Members(folder, lambda: {node: load_public_key(file) for node, file in keys.items()})


def found(
    told: Mapping[int, Pseudonyms], register: Members | None = None, vaults: Mapping[int, bytes] | None = None
) -> Discovery:
    """Returns what a discovery finds whose nodes tell these pseudonyms, in this order."""

    def answer(message: Message) -> RecordDict:
        node = message.metadata.dst_node_id
        vault = (vaults or {}).get(node, bytes([node]) * 16)
        counts = {"train": np.full(len(told[node]), node, np.uint32)}
        return DiscoveryReply(vault, told[node], counts, WEIGHTS).content()

    return discover(Nodes(answer, tuple(told)), "{}", 9.0, register=register)


def held(discovery: Discovery) -> dict[int, set[int]]:
    """Returns the clients of each node."""
    return {node: set(own.tolist()) for nodes, own in discovery.population.vaults for node in nodes}


@given(
    st.lists(st.sets(st.integers(0, 40)), min_size=1, max_size=4),
    st.lists(st.sets(st.integers(0, 40)), min_size=4, max_size=4),
)
def test_each_pseudonym_has_one_owner_whatever_the_order(told: list[set[int]], before: list[set[int]]) -> None:
    claims = [(bytes([place]), np.array(sorted(own), np.uint64)) for place, own in enumerate(told)]
    first, seen = dict[bytes, Pseudonyms](), set[int]()
    for place, own in enumerate(before):  # the last ones are away
        first[bytes([place])] = np.array(sorted(own - seen), np.uint64)
        seen |= own
    kept = {owner: set(own.tolist()) for (owner, _), own in zip(claims, settle(claims, first), strict=True)}
    shuffled = claims[::-1]
    assert kept == {o: set(k.tolist()) for (o, _), k in zip(shuffled, settle(shuffled, first), strict=True)}
    assert sum(map(len, kept.values())) == len(set().union(*kept.values()))
    present = dict(claims)
    for owner, own in claims:
        still = {o: set(p.tolist()) & set(present.get(o, p).tolist()) for o, p in first.items() if o != owner}
        others = set().union(*still.values())
        assert set(own.tolist()) & set(first[owner].tolist()) <= kept[owner] <= set(own.tolist()) - others
    away = set().union(*(set(first[bytes([place])].tolist()) for place in range(len(told), 4)))
    assert set().union(*kept.values()) == set().union(*told) - away


@pytest.mark.parametrize("order", [(HONEST, LIAR), (LIAR, HONEST)])
def test_who_claims_everything_at_first_gets_a_share_by_chance_wherever_it_is_listed(order: tuple[int, ...]) -> None:
    told = {node: OWN[HONEST] if node == HONEST else ALL for node in order}
    with pytest.warns(UserWarning, match=rf"Node {LIAR} claims \d+ clients that are another node's"):
        own = held(found(told))
    lost = set(OWN[HONEST].tolist()) - own[HONEST]
    assert 60 <= len(lost) <= 140  # of 200: half, give or take 5.6 standard deviations
    assert own == held(found(dict(reversed(told.items()))))
    assert own[HONEST] | own[LIAR] == set(ALL.tolist()) and not own[HONEST] & own[LIAR]


def test_who_claims_everything_later_gets_nothing_of_it(folder: Path, keys: dict[int, Path]) -> None:
    nodes = members(folder, keys)
    assert held(found({HONEST: OWN[HONEST], LIAR: OWN[LIAR]}, nodes)) == {n: set(p.tolist()) for n, p in OWN.items()}
    again = members(folder, keys)  # of another run
    with pytest.warns(UserWarning, match=f"Node owner-{LIAR} claims 200 clients that are another node's"):
        own = held(found({LIAR: ALL, HONEST: OWN[HONEST]}, again))
    assert own[HONEST] == set(OWN[HONEST].tolist()) and not own[LIAR] & own[HONEST]
    assert not held(found({LIAR: OWN[HONEST]}, again))[LIAR]  # also while the owner is away
    file = folder / CLAIMS
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_an_owner_no_longer_tells_and_what_an_expelled_one_had_is_free(
    folder: Path, keys: dict[int, Path]
) -> None:
    few = OWN[HONEST][:150]
    found({HONEST: OWN[HONEST]}, members(folder, keys))
    own = held(found({HONEST: few, THIRD: OWN[HONEST][150:]}, members(folder, keys)))
    assert own == {HONEST: set(few.tolist()), THIRD: set(OWN[HONEST][150:].tolist())}
    (folder / "nodes" / f"owner-{HONEST}.pub").unlink()
    assert held(found({LIAR: few}, members(folder, keys)))[LIAR] == set(few.tolist())


def test_a_vault_id_of_another_node_opens_no_way_to_its_clients(folder: Path, keys: dict[int, Path]) -> None:
    """Nodes of one vault share its clients' messages; in a deployment each node is an owner of its own."""
    vaults = {HONEST: b"v" * 16, LIAR: b"v" * 16}
    shared = found({LIAR: OWN[HONEST], HONEST: OWN[HONEST]}, None, vaults)
    assert [nodes for nodes, _ in shared.population.vaults] == [(LIAR, HONEST)]  # a cluster
    nodes = members(folder, keys)
    found({HONEST: OWN[HONEST]}, nodes, vaults)
    apart = found({LIAR: OWN[HONEST], HONEST: OWN[HONEST]}, nodes, vaults)
    assert held(apart) == {LIAR: set(), HONEST: set(OWN[HONEST].tolist())}
    assert apart.population.train_tokens.tolist() == [HONEST] * 200


def test_no_choice_of_a_vault_id_wins_in_a_deployment(folder: Path, keys: dict[int, Path]) -> None:
    """Half of the secret key is enough: two coordinators divide the same claims differently."""
    told = {HONEST: OWN[HONEST], LIAR: OWN[HONEST]}
    first = held(found(told, members(folder, keys)))
    assert first == held(found(told, members(folder, keys), {LIAR: b"another"}))
    (folder / CLAIMS).unlink()
    assert first != held(found(told, members(folder, keys)))


def test_invented_clients_are_refused_by_the_number_of_the_admission(folder: Path, keys: dict[int, Path]) -> None:
    many = np.arange(200_000, dtype=np.uint64)
    with pytest.raises(
        CohortError, match=f"Node owner-{LIAR} reports 200000 clients, and was admitted with at most 100000"
    ):
        found({HONEST: OWN[HONEST], LIAR: many}, members(folder, keys))
    assert DEFAULT_MAX_CLIENTS == 100_000 and not (folder / CLAIMS).exists()
    set_max_clients(folder / "nodes", f"owner-{LIAR}", 200_000)
    assert len(found({HONEST: OWN[HONEST], LIAR: many}, members(folder, keys)).population.pseudonyms) == 200_000
    set_max_clients(folder / "nodes", f"owner-{HONEST}", 199)
    with pytest.raises(
        CohortError, match=f"Node owner-{HONEST} reports 200 clients, and was admitted with at most 199"
    ):
        found({HONEST: OWN[HONEST]}, members(folder, keys))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"key": "00"}', '{"key": "00", "claims": {"a": "?"}}', '{"key": 1, "claims": {}}']
)
def test_a_damaged_file_of_claims_is_one_sentence(folder: Path, keys: dict[int, Path], content: str) -> None:
    (folder / CLAIMS).write_text(content)
    with pytest.raises(FedLMError, match=r"claims\.json is damaged"):
        found(OWN, members(folder, keys))
    assert (folder / CLAIMS).read_text() == content


@pytest.mark.parametrize("content", ["", "max_clients = 0", "max_clients = '5'", "max_clients = true", "?"])
def test_a_damaged_number_of_clients_is_one_sentence(folder: Path, keys: dict[int, Path], content: str) -> None:
    (folder / "nodes" / f"owner-{LIAR}.toml").write_text(content)
    with pytest.raises(ConfigError, match="it has one line, max_clients = N"):
        found(OWN, members(folder, keys))


def told_once(content: DiscoveryReply) -> None:
    discover(Nodes(lambda message: content.content()), "{}", 9.0)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_initial_weights_that_are_not_finite_are_refused_by_the_name_of_the_node(number: float) -> None:
    weights = (np.zeros(3, np.float32), np.array([1, number], np.float32))
    with pytest.raises(CohortError, match="node 7 about its clients was refused: the initial weights are not finite"):
        told_once(DiscoveryReply(b"v", ALL, {}, weights))


def test_no_initial_weights_at_all_and_a_pseudonym_twice_are_refused() -> None:
    with pytest.raises(CohortError, match="No node sent the initial weights"):
        told_once(DiscoveryReply(b"v", ALL, {}, ()))
    with pytest.raises(CohortError, match="its pseudonyms are not all different"):
        told_once(DiscoveryReply(b"v", np.array([5, 3, 5], np.uint64), {}, WEIGHTS))


def test_a_run_goes_on_with_weights_of_its_own_model_only(tmp_path: Path) -> None:
    """Under differential privacy the noise depends on their number."""
    config = RunConfig()
    run = RunFolder.create(tmp_path / "run", config)
    run.save_checkpoint(Checkpoint(1, (np.zeros(4, np.float32),)))
    reply = DiscoveryReply(b"v", ALL, {}, WEIGHTS).content()
    federation = Federation(Nodes(lambda message: reply), config, run, lambda line: None)
    with pytest.raises(CohortError, match="do not have the shapes of the run's checkpoint"):
        federation.start(resume=True)


def test_the_file_of_claims_has_hashes_of_keys_and_pseudonyms_and_nothing_else(
    folder: Path, keys: dict[int, Path]
) -> None:
    found(OWN, members(folder, keys))
    content = json.loads((folder / CLAIMS).read_text())
    assert set(content) == {"key", "claims"} and len(bytes.fromhex(content["key"])) == 32
    assert all(len(bytes.fromhex(owner)) == 32 for owner in content["claims"])


def test_a_node_that_connects_late_is_known_and_one_that_has_gone_is_named(folder: Path, keys: dict[int, Path]) -> None:
    connected = {HONEST: load_public_key(keys[HONEST])}
    nodes = Members(folder, lambda: connected)
    found({HONEST: OWN[HONEST]}, nodes)
    with pytest.raises(CohortError, match=f"Node {LIAR} has disconnected"):
        found(OWN, nodes)
    connected = {LIAR: load_public_key(keys[LIAR])}
    assert set(held(found(OWN, nodes))) == {HONEST, LIAR}
