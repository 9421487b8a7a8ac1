"""What all tests share: one deployment of real processes, for those that need one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from tests.place import Place


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Place"]:
    """Returns a deployment `d` that is up; it costs a minute, once."""
    from tests.place import deployed

    with deployed(tmp_path_factory) as made:
        yield made


class OneDeployment(LoadScopeScheduling):
    """Sends every test to the next free worker, but all that share the deployment to one."""

    def _split_scope(self, nodeid: str) -> str:
        return "deployment" if "/test_deploy" in nodeid else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """Returns the scheduler of `--dist loadgroup`; xdist's own no longer sees groups under pytest 9.2."""
    return OneDeployment(config, log) if config.getvalue("dist") == "loadgroup" else None
