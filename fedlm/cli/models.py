"""`fedlm models`."""

import os
from collections.abc import Iterator
from typing import Any

import typer

from fedlm.cli.options import Json
from fedlm.system.figures_json import to_json

# Models of the literature, with the size of their vocabulary and their sequence length.
_PUBLISHED = (
    ("lstm", 90, 80, "Shakespeare, McMahan et al. 2017"),
    ("lstm(units=670, layers=1, embedding=96, projection=96)", 10_004, 20, "StackOverflow, Reddi et al. 2021"),
)


def models(as_json: Json = False) -> None:
    """Lists the models: their options with defaults, and their number of parameters."""
    rows = list(_rows())
    if as_json:
        typer.echo(to_json(rows))
        return
    for row in rows:
        count = f"{row['parameters']:>9,}" if row["parameters"] else " " * 9
        symbols = f", {row['vocab_size']} symbols" if row["vocab_size"] else ""
        typer.echo(f"{count}  {row['model']}  ({row['about']}{symbols})")
        for option, default in row["options"].items():
            typer.echo(f"             {option}={default!r}")


def _rows() -> Iterator[dict[str, Any]]:
    from fedlm.models.catalog import is_pretrained, model_names, model_options
    from fedlm.system.terminal import quiet_stderr

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_stderr():
        from fedlm.models.registry import build_model

    ours = [(name, 128, 80, "chars") for name in model_names() if not is_pretrained(name)]
    for spec, vocab_size, seq_len, about in (*ours, *_PUBLISHED):
        count = build_model(spec, vocab_size, seq_len).count_params()
        options = model_options(spec) if about == "chars" else {}
        yield {"model": spec, "parameters": count, "vocab_size": vocab_size, "about": about, "options": options}
    for name in filter(is_pretrained, model_names()):
        size = {"parameters": 0, "vocab_size": 0, "about": "from a preset"}
        yield {"model": name, **size, "options": model_options(name)}
