"""Code outside fedlm that the user of this process has named, and thereby trusts.

A user's class is imported when a configuration names it. A run's folder, or a vault, may come from somebody else: code that
only such a file names is not imported, until the user names it too (`--plugin`, `--set`, `--config`, or in Python).
"""

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

from fedlm.errors import ConfigError
from fedlm.plugins.path import search_last
from fedlm.plugins.places import check_places
from fedlm.spec import parse_spec

_NAMED, _FILES = set[str](), set[str]()  # names; modules that were named by their file
_NO_SPECS = ("pseudonym_key", "vocabulary_text")  # configuration keys whose values are a path or a text


def name_plugins(*names: str) -> None:
    """Notes code outside fedlm that the user of this process has named, and thereby trusts."""
    _NAMED.update(names)


def use_plugins(*given: str) -> None:
    """Notes what `--plugin` names: code, `package.module:Class`, or a file, whose folder is then searched for modules too.

    Raises:
      ConfigError: there is no such file, or its name is that of a module that is found before it.
    """
    for name in given:
        if not name.endswith(".py"):
            name_plugins(name)
            continue
        file = Path(name).resolve()
        if not file.is_file():
            raise ConfigError(f"There is no file {name} (--plugin).")
        search_last([str(file.parent)])
        check_places({file.stem: str(file)})
        _FILES.add(file.stem)


def own_code(values: Mapping[str, object]) -> dict[str, str]:
    """Returns the code outside fedlm that a configuration's values name, and the key of each.

    Every key counts, also one that is not known yet. A recogniser (`scrub=full(extra=...)`) is not among them: it is
    imported by `Scrubber` only, see `recogniser`.

    >>> own_code({"model": "mine.models:build(units=8)", "strategy": "FedAvg", "rounds": 3})
    {'mine.models:build': 'model'}
    """
    found = {}
    for key, value in values.items():
        if isinstance(value, str) and key not in _NO_SPECS:
            with contextlib.suppress(ConfigError):  # what is no spec names nothing
                if {":", "."} & set(name := parse_spec(value).name):
                    found[name] = key
    return found


def recogniser(scrub: object) -> dict[str, str]:
    """Returns the module that a scrub spec names, if it does, as `own_code` does."""
    with contextlib.suppress(ConfigError):
        if isinstance(scrub, str) and (extra := parse_spec(scrub).options.get("extra")):
            return {str(extra): "scrub"}
    return {}


def check_named(code: Mapping[str, str], where: Path) -> None:
    """Refuses code that a file names and the user did not.

    Args:
      code: as `own_code` or `recogniser` returned it.
      where: the file or folder that names it.

    Raises:
      ConfigError: with what to add.
    """
    for name, key in code.items():
        if name not in _NAMED and re.split("[:.]", name)[0] not in _FILES:
            raise ConfigError(
                f"{where} names code outside fedlm, {name} ({key}), which was not loaded: if you trust it, add --plugin {name} "
                f"(in Python: plugins=[{name!r}])."
            )
