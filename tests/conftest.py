"""What all tests share: one deployment of real processes, for those that need one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.place import Place


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Place"]:
    """Returns a deployment `d` that is up; it costs a minute, once."""
    from tests.place import deployed

    with deployed(tmp_path_factory) as made:
        yield made
