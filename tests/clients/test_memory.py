"""A node's memory keeps every claim that it has answered: after kills, beside foreign journals, and with two that have it open."""

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from clients.contract.memory import Memory, Refused
from fedlm.errors import FedLMWarning, VaultError

SECRET = bytes(range(32))
WRITER = """
import sys
from pathlib import Path
from clients.contract.memory import Memory
memory = Memory(Path(sys.argv[1]), bytes(range(32)))
for number in range(int(sys.argv[2]), 10**6):
    memory.remember({memory.tag("claim", number): bytes(32)}, {memory.tag("client", number % 3): 10**6}, "")
    print(number, flush=True)
"""


def claim(memory: Memory, numbers: range) -> None:
    for number in numbers:
        assert memory.remember({memory.tag("claim", number): bytes(32)}, {memory.tag("client"): 10**6}, "")


def held(memory: Memory, most: int = 2000) -> set[int]:
    return {number for number in range(most) if memory.has(memory.tag("claim", number))}


def killed_after(path: Path, first: int, count: int) -> int:
    """Kills a process that claims, with -9, after so many answers; returns the last number that it has told."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(first)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    ) as process:
        assert process.stdout is not None
        for _ in range(count):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        told = [int(line) for line in process.stdout.read().split()]
    return max(told, default=first + count - 1)


def test_a_memory_is_private_and_remembers(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    memory = Memory(path, SECRET)
    tag, client = memory.tag("run", 1), memory.tag("client", 1)
    assert memory.remember({tag: b"a" * 32}, {client: 1}, "no") and not memory.remember(
        {tag: b"a" * 32}, {client: 1}, "no"
    )
    with pytest.raises(Refused, match=r"^no$"):
        memory.remember({memory.tag("new"): b"x", tag: b"b" * 32}, {}, "no")
    with pytest.raises(Refused, match="taken part 1 times, as"):
        memory.remember({memory.tag("run", 2): b"c" * 32}, {client: 1}, "no")
    assert not memory.has(memory.tag("new")) and not memory.has(memory.tag("run", 2))
    assert {stat.S_IMODE(f.stat().st_mode) for f in tmp_path.iterdir()} == {0o600}
    memory.close()
    assert sorted(f.name for f in tmp_path.iterdir()) == ["memory", "memory.lock"]
    assert Memory(path, SECRET).digest_of(tag) == b"a" * 32


def test_kills_lose_no_claim(tmp_path: Path) -> None:
    path, last = tmp_path / "memory", -1
    for count in (1, 2, 40, 3):
        last = killed_after(path, last + 1, count)
        assert path.with_name("memory-wal").stat().st_size > 0  # the kill has left one
    memory = Memory(path, SECRET)
    assert held(memory) >= set(range(last + 1))
    assert not list(tmp_path.glob("*.foreign")) and not list(tmp_path.glob("*.recovery*"))


def test_a_kill_while_the_memory_is_made_leaves_one_that_opens(tmp_path: Path) -> None:
    (tmp_path / ".memory.new").write_bytes(b"half")
    (tmp_path / ".memory.new-wal").write_bytes(b"half")
    claim(Memory(tmp_path / "memory", SECRET), range(2))


def a_journal_of(path: Path) -> bytes:
    """Returns a rollback journal that SQLite would replay: that of a change of this state which was not committed."""
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    with contextlib.closing(sqlite3.connect(other, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("PRAGMA cache_size=1")
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO claim VALUES (?, ?)", [(os.urandom(32), bytes(32)) for _ in range(2000)])
        db.execute("DELETE FROM head")
        return other.with_name("other-journal").read_bytes()


@pytest.fixture(scope="module")
def stale(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], bytes]:
    """Journals that belong to no present state of a memory, by what they are of and their kind."""
    folder, made = tmp_path_factory.mktemp("stale"), dict[tuple[str, str], bytes]()
    for name, secret in (("an older state", SECRET), ("another memory", bytes(32))):
        path = folder / name
        memory = Memory(path, secret)
        claim(memory, range(3))
        made[name, "-wal"] = path.with_name(f"{name}-wal").read_bytes()
        made[name, "-shm"] = path.with_name(f"{name}-shm").read_bytes()
        memory.close()
        made[name, "-journal"] = a_journal_of(path)
        if name == "an older state":
            made["the file", ""] = path.read_bytes()
    with contextlib.closing(sqlite3.connect(folder / "foreign.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE claim (x)")
        made["another program", "-wal"] = (folder / "foreign.db-wal").read_bytes()
        made["another program", "-shm"] = (folder / "foreign.db-shm").read_bytes()
    made["another program", "-journal"] = a_journal_of(folder / "an older state")[:700]
    for kind in ("-wal", "-shm", "-journal"):
        made["nothing", kind], made["noise", kind] = b"", os.urandom(5000)
    return made


@pytest.mark.parametrize(
    "kinds", [("-wal",), ("-journal",), ("-shm",), ("-wal", "-shm"), ("-wal", "-journal", "-shm")], ids="".join
)
@pytest.mark.parametrize("of", ["an older state", "another memory", "another program", "nothing", "noise"])
@pytest.mark.filterwarnings("ignore::fedlm.errors.FedLMWarning")
def test_a_foreign_journal_takes_no_claim_away(
    tmp_path: Path, stale: dict[tuple[str, str], bytes], of: str, kinds: tuple[str, ...]
) -> None:
    path = tmp_path / "memory"
    path.write_bytes(stale["the file", ""])
    memory = Memory(path, SECRET)
    claim(memory, range(3, 250))
    memory.close()
    for kind in kinds:
        path.with_name(f"memory{kind}").write_bytes(stale[of, kind])
    memory = Memory(path, SECRET)
    assert held(memory) == set(range(250))
    claim(memory, range(250, 252))
    memory.close()
    assert held(Memory(path, SECRET)) == set(range(252))


def test_a_foreign_journal_is_told_and_kept(tmp_path: Path, stale: dict[tuple[str, str], bytes]) -> None:
    path = tmp_path / "memory"
    claim(memory := Memory(path, SECRET), range(3))
    memory.close()
    path.with_name("memory-wal").write_bytes(stale["another memory", "-wal"])
    with pytest.warns(FedLMWarning, match=r"memory-wal does not belong to this state"):
        Memory(path, SECRET)
    assert path.with_name("memory-wal.foreign").read_bytes() == stale["another memory", "-wal"]


def test_the_journal_of_a_kill_beside_an_older_file_gives_the_newest_whole_state(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    claim(memory := Memory(path, SECRET), range(3))
    memory.close()
    older = path.read_bytes()
    last = killed_after(path, 3, 30)
    path.write_bytes(older)  # a backup put back; the journal of the kill is still there
    assert held(Memory(path, SECRET)) >= set(range(last + 1))


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM claim WHERE rowid_ = 1",
        "DELETE FROM head",
        "UPDATE head SET change = 9",
        "UPDATE head SET mac = 1000000000000",
        "UPDATE head SET claims = 'x'",
        "UPDATE spent SET times = 0",
        "INSERT INTO head SELECT * FROM head",
        "UPDATE head SET change = -1",
        "DROP TABLE spent",
    ],
)
def test_a_changed_memory_is_damaged(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "memory"
    claim(memory := Memory(path, SECRET), range(3))
    memory.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(damage.replace("WHERE rowid_ = 1", "WHERE tag = (SELECT min(tag) FROM claim)"))
    with pytest.raises(VaultError, match=r" is damaged, "):
        Memory(path, SECRET)


def test_two_that_have_it_open_agree(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    first, second = Memory(path, SECRET), Memory(path, SECRET)
    claim(first, range(5))
    claim(second, range(5, 9))
    assert held(first) == held(second) == set(range(9))
    first.close()
    claim(second, range(9, 11))
    with pytest.raises(Refused):
        second.remember({second.tag("claim", 1): b"other"}, {}, "no")
    second.close()
    assert held(Memory(path, SECRET)) == set(range(11))


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("elsewhere")], ids=["folder", "link"])
def test_a_journals_name_that_is_taken_is_told(tmp_path: Path, make: "object") -> None:
    path = tmp_path / "memory"
    Memory(path, SECRET).close()
    make(path.with_name("memory-wal"))  # type: ignore[operator]
    with pytest.raises(VaultError, match="move it away"):
        Memory(path, SECRET)
