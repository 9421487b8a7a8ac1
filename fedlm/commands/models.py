"""`fedlm models`."""

import json
import os
from typing import Any

import typer

from fedlm.commands.options import Json

_KNOWN = (
    ("lstm", 90, 80, "Shakespeare, McMahan et al. 2017"),
    ("lstm(units=670, layers=1, embedding=96, projection=96)", 10_004, 20, "StackOverflow, Reddi et al. 2021"),
)


def models(as_json: Json = False) -> None:
    """Lists the models: options with their defaults, and parameters with the vocabulary `chars`."""
    from fedlm.models.catalog import model_names, model_options
    from fedlm.quiet import quiet_stderr

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_stderr():
        from fedlm.models.registry import build_model

    listed = [(name, 128, 80, "chars") for name in model_names()]
    rows: list[dict[str, Any]] = []
    for spec, vocab_size, seq_len, about in (*listed, *_KNOWN):
        count = build_model(spec, vocab_size, seq_len).count_params()
        options = model_options(spec) if about == "chars" else {}
        rows.append({"model": spec, "parameters": count, "vocab_size": vocab_size, "about": about, "options": options})
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        typer.echo(f"{row['parameters']:>9,}  {row['model']}  ({row['about']}, {row['vocab_size']} symbols)")
        for option, default in row["options"].items():
            typer.echo(f"             {option}={default!r}")
