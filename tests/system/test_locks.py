"""A lock has one holder, or several that share; it ends with its process, also when that is killed."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedlm.errors import ConfigError, FedLMError
from fedlm.system import locks
from fedlm.system.locks import Mode, holder, holding, is_at, one_at_a_time, open_lock, supervising, supervisor, try_lock

HOLD = """
import sys
from pathlib import Path
from fedlm.system.locks import holding
with holding(Path(sys.argv[1]), 9, ""):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def another_holder(file: Path) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-c", HOLD, str(file)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        yield other
        other.kill()


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with another_holder(file) as other:
        assert holder(file) == 9
        with pytest.raises(ConfigError, match="taken"), holding(file, 7, "taken", 0.1, ConfigError):
            pass
        other.kill()
        other.wait()
        assert holder(file) is None
        with holding(file, 7, "taken"):
            assert holder(file) == 7


def test_a_shorter_number_leaves_no_digit_of_the_one_before(tmp_path: Path) -> None:
    for number in (123456, 7, 0):
        with holding(tmp_path / "lock", number, "taken"):
            assert holder(tmp_path / "lock") == number


def test_readers_share_and_a_writer_is_alone(tmp_path: Path) -> None:
    one, two, three = (open_lock(tmp_path / "lock") for _ in range(3))
    assert try_lock(one, Mode.SHARED) and try_lock(two, Mode.SHARED)
    assert not try_lock(three, Mode.EXCLUSIVE)
    locks.os.close(one)
    assert not try_lock(three, Mode.EXCLUSIVE) and try_lock(
        two, Mode.EXCLUSIVE
    )  # the last reader may become the writer
    assert not try_lock(three, Mode.SHARED)
    locks.os.close(two)
    assert try_lock(three, Mode.SHARED)
    locks.os.close(three)


def test_a_lock_on_a_file_that_was_replaced_is_told(tmp_path: Path) -> None:
    handle = open_lock(tmp_path / "lock")
    assert is_at(tmp_path / "lock", handle)
    (tmp_path / "lock").unlink()
    assert not is_at(tmp_path / "lock", handle)
    other = open_lock(tmp_path / "lock")
    assert not is_at(tmp_path / "lock", handle) and is_at(tmp_path / "lock", other)
    locks.os.close(handle)
    locks.os.close(other)


def test_threads_take_turns(tmp_path: Path) -> None:
    inside, seen = 0, list[int]()

    def work() -> None:
        nonlocal inside
        with one_at_a_time(tmp_path / "lock"):
            inside += 1
            seen.append(inside)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == [1] * 4


def test_a_folder_has_one_supervisor(tmp_path: Path) -> None:
    assert supervisor(tmp_path) is None
    with supervising(tmp_path):
        pid = supervisor(tmp_path)
        assert pid == locks.os.getpid()
        with pytest.raises(FedLMError, match=f"already served by process {pid}"), supervising(tmp_path):
            pass
    assert supervisor(tmp_path) is None
