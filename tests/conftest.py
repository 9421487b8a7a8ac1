"""What all tests share: one deployment of real processes, for those that need one."""

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from fedlm.spec import SYNTAX_TREES
from tests.support.models import tiny_config

if TYPE_CHECKING:
    from tests.support.place import Place

__all__ = ["tiny_config"]


def pytest_configure() -> None:
    """Lets one thread at a time build a syntax tree (see `SYNTAX_TREES`): pytest does, for modules that threads import."""
    parse = ast.parse

    def one_at_a_time(*arguments: Any, **options: Any) -> ast.AST:
        with SYNTAX_TREES:
            return parse(*arguments, **options)

    ast.parse = one_at_a_time  # type: ignore[assignment]


@pytest.fixture(scope="session")
def shared_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Place"]:
    """Returns a deployment `d` that is up; it costs a minute, once."""
    from tests.support.place import deployed

    with deployed(tmp_path_factory) as made:
        yield made


@pytest.fixture
def place(shared_place: "Place") -> Iterator["Place"]:
    """Returns it, and lets the test's commands be its user's."""
    from tests.support.place import as_user

    with as_user(shared_place.user):
        yield shared_place


class SharedTogether(LoadScopeScheduling):
    """Sends every test to the next free worker, but to one those that share something that is slow to start.

    That is the deployment, Ray, and the coordinator that a file of attacks starts for itself.
    """

    def _split_scope(self, nodeid: str) -> str:
        shared = re.search(r"/(deploy)/|/test_(ray)|/attacks/(test_\w+)", nodeid)
        return next(filter(None, shared.groups())) if shared else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """Returns the scheduler of `--dist loadgroup`; xdist's own no longer sees groups under pytest 9.2."""
    return SharedTogether(config, log) if config.getvalue("dist") == "loadgroup" else None
