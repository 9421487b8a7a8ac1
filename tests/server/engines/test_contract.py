"""What every engine keeps to: a future a message, done in time, whatever becomes of node and transport."""

import inspect
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import pytest
from flwr.app import Message

from clients.ipc.channel import Channel
from fedlm.messages.delivery import Delivery
from server.engines import flower, network
from server.engines import local as local_engine
from server.engines.base import Engine, engine_names, replies_to
from server.engines.flower import FlowerEngine
from server.engines.local import LocalEngine, take_identity
from server.engines.network import NetworkEngine
from server.engines.workers import WorkerCommand
from server.run.federation import Federation
from server.store.checkpoint import weights_sha256
from server.store.run_folder import RunFolder
from tests.support.echo import SILENCE, Echo, asks, said
from tests.support.grids import MemoryGrid
from tests.support.running import WORKERS
from tests.support.toys import toy_engine
from tests.support.toys.toy_engine import ToyEngine
from tests.support.unlearned import seal, settings

pytestmark = pytest.mark.flower
NODES = [2, 3]


class EchoCommand(WorkerCommand):
    """A command whose processes are `Echo`."""

    def arguments(self, channel: Sequence[int]) -> list[str]:
        return [sys.executable, "-P", "-m", "tests.support.echo", *map(str, channel)]


@dataclass(frozen=True)
class Tried:
    """An engine under test.

    Attributes:
      engine: with the nodes 2 and 3.
      fails: the function that carries its messages, to be replaced by one that raises.
    """

    engine: Engine
    fails: tuple[object, str]


@contextmanager
def local() -> Iterator[Tried]:
    with LocalEngine(EchoCommand(Path("none")), len(NODES)) as engine:
        replies_to(engine, [asks(node, "ready?") for node in NODES], None)
        yield Tried(engine, (Channel, "request"))


@contextmanager
def in_process() -> Iterator[Tried]:
    ended = threading.Event()
    nodes = [Echo(ended) for _ in NODES]
    yield Tried(ToyEngine(nodes), (Echo, "answer"))
    ended.set()


@contextmanager
def over_a_grid(kind: Callable[[MemoryGrid], FlowerEngine]) -> Iterator[Tried]:
    take_identity()
    nodes = {node: Echo(threading.Event()) for node in NODES}

    def answer(message: Message) -> list[Message]:
        if message.content.config_records["config"]["asked"] == SILENCE:
            return []
        content = nodes[message.metadata.dst_node_id].answer(message)
        if (delivery := Delivery.of(message.content)) is not None:
            delivery.echo(content)
        return [Message(content, reply_to=message)]

    grid = MemoryGrid(answer, NODES[::-1])
    yield Tried(kind(grid), (grid, "push_messages"))


ENGINES: dict[str, Callable[[], Any]] = {
    "local": local,
    "flower": lambda: over_a_grid(FlowerEngine),
    "network": lambda: over_a_grid(lambda grid: NetworkEngine(grid, "run")),
    "toy": in_process,
}


@pytest.fixture(params=ENGINES)
def tried(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tried]:
    monkeypatch.setattr(flower, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(network, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(network, "_LOOK_SECONDS", 0.02)
    with ENGINES[request.param]() as opened:
        yield opened


def test_it_has_nodes_in_order_and_says_whose_vault_they_open_and_what_went_wrong(tried: Tried) -> None:
    assert list(tried.engine.nodes) == NODES
    assert isinstance(tried.engine.one_vault, bool)
    assert set(tried.engine.faults.values()) <= {0}


def test_each_message_has_a_future_in_order_and_one_node_answers_in_turn(tried: Tried) -> None:
    (start,) = {said(reply)[2] for reply in replies_to(tried.engine, [asks(n, "first") for n in NODES], 60.0)}
    order = [2, 3, 2, 2, 3]
    futures = tried.engine.submit([asks(node, f"{place}") for place, node in enumerate(order)], 60.0)
    turns = [start + n for n in (1, 1, 2, 3, 2)]
    found = [said(future.result()) for future in futures]
    assert found == [(node, f"{place}", turn) for place, (node, turn) in enumerate(zip(order, turns, strict=True))]
    assert all(isinstance(future, Future) for future in futures)
    assert tried.engine.submit([], 60.0) == []


def test_messages_may_be_submitted_before_the_replies_to_others(tried: Tried) -> None:
    exchanges = [tried.engine.submit([asks(n, f"{number}") for n in NODES], 60.0) for number in range(20)]
    found = [[said(future.result()) for future in futures] for futures in exchanges]
    assert [[(node, words) for node, words, _ in f] for f in found] == [
        [(node, f"{number}") for node in NODES] for number in range(20)
    ]
    for own in zip(*found, strict=True):  # each node's: none twice, none lost
        before = sorted(b for *_, b in own)
        assert before == list(range(before[0], before[0] + 20))


def test_a_node_that_says_nothing_is_an_error_reply_in_time_and_holds_up_no_other(tried: Tried) -> None:
    begun = time.monotonic()
    futures = tried.engine.submit([asks(3, SILENCE), asks(2, "there?"), asks(3, "and then?")], 0.5)
    assert not wait(futures, 5.0).not_done and time.monotonic() - begun < 5.0
    silent, other, _ = (future.result() for future in futures)
    assert said(other)[:2] == (2, "there?")
    assert silent.has_error() and silent.error.reason.endswith(".") and silent.metadata.src_node_id == 3


def test_what_goes_wrong_in_the_transport_is_raised_by_the_futures(
    tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object, **__: object) -> NoReturn:
        raise ZeroDivisionError("broken")

    monkeypatch.setattr(*tried.fails, breaks)
    futures = tried.engine.submit([asks(n, "anyone?") for n in NODES], 60.0)
    for future in futures:
        with pytest.raises(ZeroDivisionError, match="broken"):
            future.result(10.0)
    with pytest.raises(ZeroDivisionError):
        replies_to(tried.engine, [asks(2, "anyone?")], 60.0)


@pytest.mark.parametrize("run", [*(import_module(f"server.engines.{n}").run for n in engine_names()), toy_engine.run])
def test_an_engine_of_a_simulation_takes_what_run_on_gives(run: Callable[..., Any]) -> None:
    assert {"local", "ray"} <= set(engine_names())
    inspect.signature(run).bind(WorkerCommand(Path("none")), 2, lambda engine: None, print)


@pytest.mark.slow
def test_an_engine_of_one_file_gives_the_bits_of_the_local_one(tmp_path: Path) -> None:
    vault, config = seal(tmp_path / "all"), settings(rounds=2, strategy="FedAdam")
    command = WorkerCommand(vault, vault.with_name("v.db.key"))

    def trained(out: str) -> Callable[[Engine], str]:
        def body(engine: Engine) -> str:
            run = Federation(engine, config, RunFolder.create(tmp_path / out, config), lambda line: None)
            run.start()
            weights = run.run()
            model, _ = run.export(weights)
            assert model.startswith(b"PK")
            return weights_sha256(weights)

        return body

    expected = local_engine.run(command, 1, trained("local"), print, idle=WORKERS)
    assert toy_engine.run(command, 2, trained("toy"), print) == expected
    assert RunFolder(tmp_path / "toy").metrics()[-1]["eval"] == RunFolder(tmp_path / "local").metrics()[-1]["eval"]
