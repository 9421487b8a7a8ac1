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

from fedlm.errors import ConfigError, PluginError, UnknownOption
from fedlm.plugins.calls import is_missing, loading, missing_module
from fedlm.plugins.options import type_problem
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
    return [f.stem for f in sorted(Path(__file__).parent.glob("*.py")) if _is_model(f)]


def _is_model(file: Path) -> bool:
    build = _defined(_parsed(file), "build")
    return build is not None and _takes_shapes(build)


@cache
def model_about(name: str) -> ModelAbout:
    """Returns what the source of a model says.

    Args:
      name: of a file of this folder, or an import path `package.module:function`.

    Raises:
      ConfigError: there is no such model, or its function has another signature.
    """
    file, function = _located(name)
    module = name.partition(":")[0]
    with loading(f"The model {name!r} cannot be loaded", module):  # a file in another encoding, or that is not Python
        tree = _parsed(file)
    build = _defined(tree, function)
    if build is None:
        raise ConfigError(
            f"The model {name!r} cannot be used: {file.name} defines no function {function} at its top level."
        )
    if not _takes_shapes(build):
        raise ConfigError(
            f"The model {name!r} cannot be used: {function}() at {file.name}:{build.lineno} must take vocab_size and seq_len by "
            f"keyword, and needs a default for every further argument: def {function}(*, vocab_size, seq_len, ...)."
        )
    said, options = _literals(tree), _defaults(name, file, build)
    zeros = [option for option, default in options.items() if type(default) is int and default == 0]
    with loading(f"The model {name!r} cannot be used: its MASKED, PRESET, MAY_BE_ZERO or POSITIONS is wrong", module):
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
            raise UnknownOption(option, f"The model {parsed.name} has no option {option!r}; its options are: {known}.")
        if problem := type_problem(value, type(about.options[option])):
            raise ConfigError(f"The option {option}={value!r} of the model {parsed.name} {problem}.")
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
        raise ConfigError(f"There is no model {name!r}: use {names}, or your own as package.module:build.")
    try:
        with loading(f"The model {name!r} cannot be loaded", module):
            found = find_spec(module)  # imports the packages above it
    except PluginError as error:
        if not is_missing(module, error):
            raise
        found = None
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        raise missing_module("model", name, module)
    return Path(found.origin), function


@cache
def _parsed(file: Path) -> ast.Module:
    try:
        return parsed_source(file.read_text(encoding="utf-8"))
    except SyntaxError as error:
        error.filename = str(file)
        raise


def _defined(tree: ast.Module, name: str) -> ast.FunctionDef | None:
    """Returns the function of that name at the top level of a file."""
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return found[-1] if found else None


def _takes_shapes(function: ast.FunctionDef) -> bool:
    """Returns whether a function takes the shapes as keyword arguments, and nothing else without a default."""
    pairs = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    required = sorted(a.arg for a, default in pairs if default is None)
    return required == sorted(_SHAPES) and not (function.args.posonlyargs or function.args.args)


def _defaults(name: str, file: Path, build: ast.FunctionDef) -> dict[str, Any]:
    """Returns the options of a model with their defaults, which are read and not computed."""
    options = {}
    for argument, default in zip(build.args.kwonlyargs, build.args.kw_defaults, strict=True):
        if default is None:
            continue
        try:
            options[argument.arg] = ast.literal_eval(default)
        except ValueError:
            raise ConfigError(
                f"The model {name!r} cannot be used: the default of {argument.arg} at {file.name}:{default.lineno} must be a "
                "literal, such as 64, 0.5 or 'relu'."
            ) from None
    return options


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
