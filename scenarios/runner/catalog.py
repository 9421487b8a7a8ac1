"""Finds studies: the files of `scenarios/`, or a user's file. One file answers one question.

A file defines `QUESTION` and `study(options: Options) -> Study`. Its name is the study's name.
"""

from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from fedlm.errors import ConfigError
from scenarios.runner.design import Design, Options

_FOLDER = Path(__file__).parents[1]


def scenario_names() -> list[str]:
    """Returns the names of the built-in studies: the files of `scenarios/` that define `study`."""
    return sorted(p.stem for p in _FOLDER.glob("*.py") if "\ndef study(" in p.read_text(encoding="utf-8"))


def load_scenario(name: str) -> ModuleType:
    """Returns the module of a study. A user's file is executed: load only code that you trust.

    Args:
      name: of a built-in study, or the path of a file that ends in `.py`.

    Raises:
      ConfigError: there is none of this name, or the file declares no study.
    """
    if name.endswith(".py"):
        return _load_file(Path(name))
    if name not in scenario_names():
        known = ", ".join(scenario_names())
        raise ConfigError(f"There is no study {name!r}; name a FILE.py of your own, or one of: {known}.")
    return import_module(f"scenarios.{name}")


def build_study(name: str, options: Options) -> Design:
    """Returns the study of a scenario file under the options.

    Raises:
      ConfigError: there is none, it needs what the options lack, or the file declares something else.
    """
    found = load_scenario(name).study(options)
    if not isinstance(found, Design):
        raise ConfigError(f"The function study of {name} returns {type(found).__name__}; it must return a Study.")
    return found


def _load_file(path: Path) -> ModuleType:
    """Executes a file; the module is not registered, so that a task of Ray gets its functions by value."""
    if not path.is_file():
        raise ConfigError(f"There is no study file {path}.")
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} cannot be loaded as Python.")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, ImportError, NameError) as error:
        raise ConfigError(f"The study file {path} does not load: {error}.") from error
    for name in ("QUESTION", "study"):
        if not hasattr(module, name):
            raise ConfigError(f"The study file {path} does not define {name}.")
    return module
