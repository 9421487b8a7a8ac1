"""`fedlm vocabulary`."""

from pathlib import Path
from typing import Annotated

import typer


def vocabulary(
    public: Annotated[str, typer.Argument(metavar="PUBLIC", help="Public text: a .txt file, or a corpus.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.json", help="The file to write.")],
    kind: Annotated[str, typer.Option(help="words or bpe.")] = "bpe",
    size: Annotated[int, typer.Option(help="Symbols in total, with special symbols and placeholders.")] = 8000,
) -> None:
    """Learns a vocabulary from public text. The file is readable and is sent to every node: never use private text."""
    from fedlm.system.files import check_new_file
    from fedlm.text.learned import learn, learned_vocabulary

    check_new_file(out, "vocabulary")
    content = learn(_texts(public), kind, size)
    vocab = learned_vocabulary(str(out), kind, content)
    out.write_text(content, encoding="utf-8")
    typer.echo(f"{vocab.size} symbols in {out}; use them with --set \"vocabulary={kind}(file='{out}')\"")


def _texts(public: str) -> list[str]:
    from fedlm.data.corpus import open_corpus
    from fedlm.data.lines import read_text, suffix_of
    from fedlm.errors import CorpusError

    if suffix_of(Path(public)) != ".txt" or Path(public).is_dir():
        return [document.text for document in open_corpus(public)]
    if not Path(public).exists():
        raise CorpusError(f"There is no file {public}.")
    return read_text(Path(public)).split("\n\n")
