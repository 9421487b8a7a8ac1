"""What makes a round count is written in order, one round at a time, and an error is not lost."""

import threading
from functools import partial

import pytest

from fedlm.errors import FedLMError
from server.store.checkpoint import Saver


def fail() -> None:
    raise FedLMError("The disk is full.")


def test_a_round_is_written_while_its_caller_goes_on_and_before_the_next_is_begun() -> None:
    done, gate = list[int](), threading.Event()
    with Saver(behind=True) as saver:
        saver.save(gate.wait, partial(done.append, 1), partial(done.append, 2))
        assert done == []  # the caller goes on
        gate.set()
        saver.save(partial(done.append, 3))
        assert done[:2] == [1, 2]
    assert done == [1, 2, 3]


def test_without_a_thread_a_round_is_written_when_save_returns() -> None:
    done = list[int]()
    with Saver(behind=False) as saver:
        saver.save(partial(done.append, 1))
        assert done == [1]
        with pytest.raises(FedLMError, match="disk"):
            saver.save(fail, partial(done.append, 2))
    assert done == [1]


def test_an_error_comes_with_the_next_round_and_what_follows_it_is_not_written() -> None:
    done = list[int]()
    with Saver(behind=True) as saver:
        saver.save(fail, partial(done.append, 1))
        with pytest.raises(FedLMError, match="disk"):
            saver.save(partial(done.append, 2))
    assert done == []


def test_an_error_of_the_last_round_comes_at_the_end() -> None:
    with pytest.raises(FedLMError, match="disk"), Saver(behind=True) as saver:
        saver.save(fail)


def test_an_interrupted_run_ends_with_its_last_round_written() -> None:
    done, gate = list[int](), threading.Event()
    with pytest.raises(KeyboardInterrupt), Saver(behind=True) as saver:
        saver.save(gate.wait, partial(done.append, 1))
        threading.Timer(0.05, gate.set).start()
        raise KeyboardInterrupt
    assert done == [1]
