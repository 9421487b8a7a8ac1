"""Which models there are and what options they take, read from their files without loading TensorFlow."""

import ast
import math
from functools import cache
from pathlib import Path
from typing import Any

from fedlm.errors import ConfigError
from fedlm.spec import Spec, parse_spec

_CAN_BE_ZERO = ("projection", "feedforward", "lora_rank")  # 0: without, or the model's own


@cache
def _models() -> dict[str, dict[str, Any]]:
    found = {}
    for file in sorted(Path(__file__).parent.glob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name == "build":
                pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
                found[file.stem] = {a.arg: ast.literal_eval(d) for a, d in pairs if d is not None}
    return found


def model_names() -> list[str]:
    """Returns the names of the models: each is a file of this folder with a function `build`."""
    return list(_models())


def model_options(name: str) -> dict[str, Any]:
    """Returns a model's options with their defaults, from the signature of its `build`."""
    return dict(_models()[name])


@cache
def is_masked(name: str) -> bool:
    """Returns whether a model fills hidden symbols (its file says `MASKED = True`) instead of going on with a text."""
    body = ast.parse((Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")).body
    return any(isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MASKED" for node in body)


def is_pretrained(name: str) -> bool:
    """Returns whether a model comes from a preset, which also gives its vocabulary."""
    return "preset" in model_options(name)


def check_model(spec: str) -> Spec:
    """Returns the parsed spec of a model that exists, with options that it takes.

    Raises:
      ConfigError: no such model or option (the sentence names the valid ones), or a value has another type or is out of range.
    """
    parsed = parse_spec(spec)
    if parsed.name not in model_names():
        raise ConfigError(f"There is no model {parsed.name!r}; the models are: {', '.join(model_names())}.")
    known = model_options(parsed.name)
    for option, value in parsed.options.items():
        if option not in known:
            raise ConfigError(f"The model {parsed.name} has no option {option!r}; its options are: {', '.join(known)}.")
        kind = type(known[option])
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ConfigError(f"The option {option}={value!r} of the model {parsed.name} is not a {kind.__name__}.")
        if problem := _out_of_range(option, value):
            raise ConfigError(f"The option {option}={value!r} of the model {parsed.name} is {problem}.")
    return parsed


def _out_of_range(option: str, value: Any) -> str:
    """Returns what is wrong with a number, before text is sealed for a model that does not build; empty if nothing is."""
    if option.endswith("dropout"):
        return "" if 0 <= value < 1 else "not a share of at least 0 and below 1"  # NaN compares false
    least = 0 if option in _CAN_BE_ZERO else 1
    if type(value) is int and value < least:
        return f"below {least}"
    return "" if type(value) is not float or 0 < value < math.inf else "not a positive number"
