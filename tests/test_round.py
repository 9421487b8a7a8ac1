"""docs/architecture.md says which files a round enters, in order, and from where: a real round is held against the page."""

import inspect
import re
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from flwr.app import Message

from clients.node import Node
from fedlm.types import Weights
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from server.engines.local import take_identity
from server.run.federation import Federation
from server.store.run_folder import RunFolder
from tests.support.unlearned import seal, settings

pytestmark = [pytest.mark.slow, pytest.mark.flower]
ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
TOPS = ("fedlm/", "clients/", "server/")
ROUND_LOOP = "server/run/round.py"


class Here:
    """An engine whose one node answers in the caller's thread, so that one profile sees both sides."""

    one_vault, nodes, faults = True, (2,), dict[str, int]()

    def __init__(self, node: Node) -> None:
        take_identity()
        self._node = node

    def submit(self, messages: Sequence[Message], timeout: float | None) -> list[Future[Message]]:
        futures = []
        for message in messages:
            futures.append(Future[Message]())
            futures[-1].set_result(Message(self._node.answer(message), reply_to=message))
        return futures


class Trace:
    """The files that calls enter. Resuming a generator is no entry: it goes back to who reads it."""

    def __init__(self, files: Sequence[str]) -> None:
        self.files, self._stack = set(files), list[tuple[str, bool]]()
        self.entered: list[str] = []  # each once, in order
        self.callers: dict[str, set[str]] = {}
        self.others: set[str] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            path = Path(frame.f_code.co_filename)
            name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
            resumed = bool(frame.f_code.co_flags & inspect.CO_GENERATOR)
            self._stack.append((name, resumed))
            if not resumed:
                self._enter(name)
        elif event == "return" and self._stack:
            self._stack.pop()

    def _enter(self, name: str) -> None:
        if name not in self.files:
            self.others |= {name} if name.startswith(TOPS) else set()
            return
        before = next((n for n, _ in reversed(self._stack[:-1]) if n in self.files), "")
        if name not in self.entered:
            self.entered.append(name)
        if before != name:
            self.callers.setdefault(name, set()).add(before)


def between(mark: str) -> str:
    found = re.search(f"<!-- {mark}:begin -->(.*)<!-- {mark}:end -->", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None, f"{PAGE} has no part {mark}"
    return found[1]


def table() -> dict[str, tuple[str, ...]]:
    """Returns the files of the page's table, in order, and from which files each is entered."""
    rows = [re.findall(r"`([^`]+\.py)`", line) for line in between("round").splitlines() if line.startswith("| ")]
    return {row[0]: tuple(row[1:]) for row in rows if row}


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    folder = tmp_path_factory.mktemp("round")
    vault = seal(folder / "all")
    opened = Vault(vault, KeySource(vault.with_name("v.db.key")))
    config = settings(rounds=3, eval_every=3)
    run = Federation(Here(Node(opened)), config, RunFolder.create(folder / "run", config), lambda line: None)
    weights: Weights = run.initial
    weights, _ = run.round.run(1, weights, run.cohort(1))  # compiles the model
    cohort, found = run.cohort(2), Trace(list(table()))
    sys.setprofile(found)
    run.round.run(2, weights, cohort)
    sys.setprofile(None)
    opened.close()
    return found


def test_the_table_has_the_files_of_a_round_in_order(trace: Trace) -> None:
    assert trace.entered == list(table())


def test_the_table_says_from_where_each_file_is_entered(trace: Trace) -> None:
    assert {file: set(callers) for file, callers in trace.callers.items() if file != ROUND_LOOP} == {
        file: set(callers) for file, callers in table().items() if file != ROUND_LOOP
    }


def test_a_file_has_one_caller_or_one_on_each_side(trace: Trace) -> None:
    """Only what has a server part and a node part has two callers; the page gives the rows of these files."""
    numbers = re.search(r"Rows ([\d, and]+)\s+have a\s+server part and a node part", PAGE.read_text(encoding="utf-8"))
    assert numbers is not None
    rows = {list(table())[int(n) - 1] for n in re.findall(r"\d+", numbers[1])}
    assert rows == {file for file, callers in trace.callers.items() if len(callers) > 1}
    for file in rows:
        assert {caller.split("/")[0] for caller in trace.callers[file]} == {"server", "clients"}


def test_every_other_file_that_a_round_enters_is_named_as_shared(trace: Trace) -> None:
    shared = re.findall(r"`([^`]+)`", between("shared"))
    left = [
        f
        for f in sorted(trace.others)
        if not any(f == s or (f.startswith(s.rstrip("*")) and s.endswith("*")) for s in shared)
    ]
    assert left == []


def test_transport_files_exist() -> None:
    named = re.findall(r"`([^`]+\.py)`", between("transport"))
    assert named and all((ROOT / name).is_file() for name in named)
