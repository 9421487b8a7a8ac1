"""Commands that meet at one vault: one of them may fail with a sentence, none may say what is not so."""

import random
from pathlib import Path

import pytest

from tests.support.at_once import KINDS, trial


@pytest.mark.parametrize("kind", KINDS)
def test_every_success_is_true_of_the_file(tmp_path: Path, kind: str) -> None:
    rng = random.Random(kind)
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert trial(kind, folder, rng) > 0
