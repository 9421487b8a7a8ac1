"""`fedlm receipt verify`."""

from pathlib import Path
from typing import Annotated

import typer

from fedlm.cli.options import Json
from fedlm.system.figures_json import to_json


def verify(
    receipt: Annotated[Path, typer.Argument(metavar="RECEIPT.json", help="The receipt.")],
    public_key: Annotated[
        str,
        typer.Option(
            metavar="KEY", help="The vault's public key, fetched beforehand: a file, or hexadecimal, or base64."
        ),
    ],
    reference: Annotated[str, typer.Option(help="Refuse a receipt that does not repeat these words.")] = "",
    as_json: Json = False,
) -> None:
    """Checks a receipt against a public key, without the vault, and prints what its signer states."""
    from fedlm.vault.receipts import check_answers, check_receipt, read_public_key, read_receipt

    content, key = read_receipt(receipt), read_public_key(public_key)
    check_receipt(content, key)
    if reference:
        check_answers(content, reference)
    if as_json:
        typer.echo(to_json({"genuine": True, **content}))
        return
    typer.echo("genuine: the holder of this key's secret half signed what follows")
    for name, value in content.items():
        if name != "signature":
            typer.echo(f"{name}: {value if isinstance(value, str) else to_json(value)}")
