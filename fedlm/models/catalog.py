"""Which models there are, what options they take, and what a run must know of them: all read from their source.

A model is one file with a function `build(*, vocab_size, seq_len, ...)`, whose further arguments
are its options. A file of this folder is a model under its own name; any other module is one under
its import path: `package.module:build(units=8)`. The file may say more, as literals:

  MASKED = True                 it predicts hidden tokens; without it, the next symbol
  PRESET = {...}                it comes from a preset, which also gives its vocabulary; fields of `PresetKind`
  MAY_BE_ZERO = ("lora_rank",)  options that may be 0 although their default is not
  POSITIONS = {"...": "..."}    values of options under which it has weights for each place of a row, so that the weights
                                of one seq_len do not fit another

and define `decoder(model)`, which reads the model symbol by symbol (see `fedlm.training.decoding`).
Source is parsed, not run, so that configurations are checked without loading TensorFlow.
"""

import ast
import math
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fedlm.errors import ConfigError
from fedlm.spec import Spec, parse_spec, parsed_source
from fedlm.text.presets import PresetKind

_SHAPES = ("vocab_size", "seq_len")  # arguments of `build` that the run gives


@dataclass(frozen=True)
class ModelAbout:
    """What the source of a model says of it; see the top of this file.

    Attributes:
      options: with their defaults.
      is_masked: it predicts hidden tokens.
      preset: the kind of presets that it comes from, if any.
      may_be_zero: options of whole numbers that may be 0.
      positions: values of options under which its weights depend on seq_len.
    """

    options: dict[str, Any]
    is_masked: bool
    preset: PresetKind | None
    may_be_zero: tuple[str, ...]
    positions: dict[str, Any]


def model_names() -> list[str]:
    """Returns the names of fedlm's own models: the files of this folder with a function `build`."""
    return [f.stem for f in sorted(Path(__file__).parent.glob("*.py")) if _build_function(_parsed(f), "build")]


@cache
def model_about(name: str) -> ModelAbout:
    """Returns what the source of a model says.

    Args:
      name: of a file of this folder, or an import path `package.module:function`.

    Raises:
      ConfigError: there is no such model, or its function has another signature.
    """
    file, function = _located(name)
    tree = _parsed(file)
    build = _build_function(tree, function)
    if build is None:
        have = "no function" if ":" in name else "no model"
        raise ConfigError(f"{name!r} is {have} {function}(*, vocab_size, seq_len, ...) with keyword arguments.")
    said = _literals(tree)
    pairs = zip(build.args.kwonlyargs, build.args.kw_defaults, strict=True)
    options = {a.arg: ast.literal_eval(default) for a, default in pairs if default is not None}
    zeros = [option for option, default in options.items() if type(default) is int and default == 0]
    return ModelAbout(
        options=options,
        is_masked=bool(said.get("MASKED", False)),
        preset=PresetKind(**said["PRESET"]) if "PRESET" in said else None,
        may_be_zero=(*zeros, *said.get("MAY_BE_ZERO", ())),
        positions=dict(said.get("POSITIONS", {})),
    )


def model_options(name: str) -> dict[str, Any]:
    """Returns a model's options with their defaults, from the signature of its `build`."""
    return dict(model_about(name).options)


def is_pretrained(name: str) -> bool:
    """Returns whether a model comes from a preset, which also gives its vocabulary."""
    return model_about(name).preset is not None


def preset_kind(name: str) -> PresetKind:
    """Returns the kind of presets that a pretrained model comes from; ConfigError for another model."""
    kind = model_about(name).preset
    if kind is None:
        raise ConfigError(f"The model {name} comes from no preset.")
    return kind


def has_positions(spec: Spec) -> bool:
    """Returns whether the model of a spec has weights for each place of a row, so that they fit one seq_len only."""
    about = model_about(spec.name)
    values = {**about.options, **spec.options}
    return bool(about.positions) and all(values.get(k) == v for k, v in about.positions.items())


def check_model(spec: str) -> Spec:
    """Returns the parsed spec of a model that exists, with options that it takes.

    Raises:
      ConfigError: there is no such model or option (the sentence names the valid ones), or a value
        has another type or is out of range.
    """
    parsed = parse_spec(spec)
    about = model_about(parsed.name)
    for option, value in parsed.options.items():
        if option not in about.options:
            known = ", ".join(about.options)
            raise ConfigError(f"The model {parsed.name} has no option {option!r}; its options are: {known}.")
        kind = type(about.options[option])
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ConfigError(f"The option {option}={value!r} of the model {parsed.name} is not a {kind.__name__}.")
        if problem := _out_of_range(option, value, may_be_zero=option in about.may_be_zero):
            raise ConfigError(f"The option {option}={value!r} of the model {parsed.name} is {problem}.")
    return parsed


def _out_of_range(option: str, value: Any, *, may_be_zero: bool) -> str:
    """Returns what is wrong with a number, so that no text is sealed for a model that does not build; "" if nothing is."""
    if option.endswith("dropout"):
        return "" if 0 <= value < 1 else "not a share of at least 0 and below 1"  # NaN compares false
    least = 0 if may_be_zero else 1
    if type(value) is int and value < least:
        return f"below {least}"
    return "" if type(value) is not float or 0 < value < math.inf else "not a positive number"


def _located(name: str) -> tuple[Path, str]:
    """Returns the source file of a model, and the name of its function."""
    module, colon, function = name.partition(":")
    if not colon:
        if name in model_names():
            return Path(__file__).parent / f"{name}.py", "build"
        names = ", ".join(model_names())
        raise ConfigError(f"There is no model {name!r}; the models are: {names}; or one's own, package.module:build.")
    try:
        found = find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        raise ConfigError(
            f"There is no module {module!r} for the model {name!r}; Python must find it where fedlm runs."
        )
    return Path(found.origin), function


@cache
def _parsed(file: Path) -> ast.Module:
    return parsed_source(file.read_text(encoding="utf-8"))


def _build_function(tree: ast.Module, name: str) -> ast.FunctionDef | None:
    """Returns the function of that name that takes the shapes as keyword arguments, and nothing else without a default."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            required = sorted(a.arg for a, default in pairs if default is None)
            positional = node.args.posonlyargs or node.args.args
            return node if required == sorted(_SHAPES) and not positional else None
    return None


def _literals(tree: ast.Module) -> dict[str, Any]:
    """Returns the literals that a file assigns to names in capitals."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name) and target.id.isupper():
            try:
                found[target.id] = ast.literal_eval(node.value)
            except ValueError:
                continue  # an expression: of the file's own
    return found
