"""Finds studies: the files of `scenarios/` and `scenarios/published/`, or a user's file. One file answers one question.

A file defines `QUESTION` and `study(options: Options) -> Study`. Its name is the study's name.
"""

from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from fedlm.errors import ConfigError
from fedlm.measure.metric import Measure, Metric
from fedlm.plugins.calls import loading, takes
from scenarios.runner.checks import check_design
from scenarios.runner.design import Case, Design, Options

_FOLDER = Path(__file__).parents[1]
_PUBLISHED = "published"


def scenario_names() -> list[str]:
    """Returns the names of the built-in studies: the files of `scenarios/` that define `study`."""
    return _names(_FOLDER)


def published_names() -> list[str]:
    """Returns the names of the studies that repeat a paper: `published/` and the name of the file."""
    return [f"{_PUBLISHED}/{name}" for name in _names(_FOLDER / _PUBLISHED)]


def _names(folder: Path) -> list[str]:
    return sorted(p.stem for p in folder.glob("*.py") if "\ndef study(" in p.read_text(encoding="utf-8"))


def load_scenario(name: str) -> ModuleType:
    """Returns the module of a study. A user's file is executed: load only code that you trust.

    Args:
      name: of a built-in study, or the path of a file that ends in `.py`.

    Raises:
      ConfigError: there is none of this name, or the file declares no study.
    """
    if name.endswith(".py"):
        return _load_file(Path(name))
    names = [*scenario_names(), *published_names()]
    if name not in names:
        known = ", ".join(names)
        raise ConfigError(f"There is no study {name!r}: name your own FILE.py, or one of: {known}.")
    return import_module(f"scenarios.{name.replace('/', '.')}")


def build_study(name: str, options: Options) -> Design:
    """Returns the study of a scenario file under the options.

    Raises:
      ConfigError: there is none, it needs what the options lack, or the file declares something else or a wrong name.
    """
    module = load_scenario(name)
    if not takes(module.study, ("options",)):
        raise ConfigError(f"The function study of {name} must be callable as study(options).")
    with loading(f"The function study of {name} failed", module.__name__):
        found = module.study(options)
    if not isinstance(found, Design):
        raise ConfigError(f"The function study of {name} returns {type(found).__name__}; it must return a Study.")
    if problem := _problem(found):
        raise ConfigError(f"The study {name} cannot be run: {problem}.")
    if options.test != found.test:
        raise ConfigError(f"The study {name} splits its own corpus into training and test text: leave --test out.")
    check_design(found, name)
    return found


def _problem(study: Design) -> str:
    """Returns what in a study would only be noticed when it runs, or after it has trained; "" if nothing is."""
    if not all(isinstance(case, Case) for case in study.cases):
        return "its cases must be of the class Case"
    for measure in study.measures:
        if not isinstance(measure, Measure) or not all(isinstance(m, Metric) for m in measure.metrics):
            return "its measures must be of the class Measure, and their metrics of the class Metric"
        if not callable(measure.figures) or not takes(measure.figures, ("run",)):
            return f"the figures of its measure {measure.metrics[0].name} must be callable as figures(run)"
    return ""


def _load_file(path: Path) -> ModuleType:
    """Executes a file; the module is not registered, so that a task of Ray gets its functions by value."""
    if not path.is_file():
        raise ConfigError(f"There is no study file {path}.")
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} cannot be loaded as Python.")
    module = module_from_spec(spec)
    with loading(f"The study file {path} does not load", module.__name__):
        spec.loader.exec_module(module)
    for name in ("QUESTION", "study"):
        if not hasattr(module, name):
            raise ConfigError(f"The study file {path} does not define {name}.")
    return module
