"""What is installed is what was locked: every file has its hash in the lock, and every command that reads a lock asks for it."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "docs/requirements.txt")
INSTALLS = ("Makefile", "docs/deployment.md", "docs/deployment/compose.yaml")


def locked(lock: str) -> dict[Requirement, list[str]]:
    """The requirements of a lock file with their hashes; fails on any other line."""
    joined = (ROOT / lock).read_text().replace("\\\n", " ")
    found = {}
    for line in filter(None, joined.splitlines()):
        requirement, *hashes = re.split(r"\s+--hash=", line)
        found[Requirement(requirement)] = [h.strip() for h in hashes]
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_version_is_exact_and_has_hashes_and_no_index_is_named(lock: str) -> None:
    for requirement, hashes in locked(lock).items():
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), requirement
        assert requirement.url is None
        assert hashes and all(re.fullmatch("sha256:[0-9a-f]{64}", h) for h in hashes), requirement
    assert "://" not in (ROOT / lock).read_text()


def test_the_hashes_are_those_of_every_platform() -> None:
    """NumPy alone has wheels for three systems, two processors and several versions of Python."""
    count = {r.name: len(hashes) for r, hashes in locked("requirements.lock").items()}
    assert count["numpy"] > 20 and count["cryptography"] > 10 and count["tensorflow"] >= 3


def test_every_direct_requirement_is_locked_within_its_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    wanted += [w for name, needs in extras.items() if name != "fuzz" for w in needs]
    versions: dict[str, list[str]] = {}
    for requirement in locked("requirements.lock"):
        version = str(requirement.specifier).removeprefix("==")
        versions.setdefault(canonicalize_name(requirement.name), []).append(version)
    for requirement in map(Requirement, wanted):
        chosen = versions[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(v) for v in chosen), (str(requirement), chosen)


@pytest.mark.parametrize("file", INSTALLS)
def test_no_command_installs_a_lock_without_its_hashes_or_a_build_tool_without_one(file: str) -> None:
    text = (ROOT / file).read_text().replace("\\\n", " ")
    variables = dict(re.findall(r"^(\w+) := (.*)$", text, re.MULTILINE))
    commands = [re.sub(r"\$\((\w+)\)", lambda m: variables.get(m[1], ""), c) for c in re.split(r"\n|&&", text)]
    installs = [c for c in commands if re.search(r"\bpip install\b", c) and "requirements-others" not in c]
    reading = [c for c in installs if re.search(r"requirements\.(lock|txt)", c)]
    assert reading
    for command in reading:
        assert "--require-hashes" in command and "--only-binary :all:" in command, command
    for command in (
        c for c in installs if c not in reading and ":=" not in c
    ):  # fedlm itself: its build tool is in the lock
        assert "--no-build-isolation" in command and "--no-deps" in command, command
