"""`fedlm vocabulary`."""

from pathlib import Path
from typing import Annotated

import typer


def vocabulary(
    public: Annotated[str, typer.Argument(metavar="PUBLIC", help="Public text: a .txt file, or a corpus.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.json")],
    kind: Annotated[str, typer.Option(help="words or bpe.")] = "bpe",
    size: Annotated[int, typer.Option(help="Symbols in all, with specials and placeholders.")] = 8000,
) -> None:
    """Learns a vocabulary from public text. What it finds is stored readable and sent to every node: never name private text."""
    from fedlm.data.corpus import open_corpus
    from fedlm.errors import ConfigError, CorpusError
    from fedlm.text.learned import learn, learned_vocabulary

    if out.exists():
        raise ConfigError(f"{out} is there already; name another file.")
    if public.endswith(".txt"):
        try:
            texts = Path(public).read_text(encoding="utf-8").split("\n\n")
        except FileNotFoundError:
            raise CorpusError(f"There is no file {public}.") from None
        except UnicodeDecodeError:
            raise CorpusError(f"{public} is not text in UTF-8.") from None
    else:
        texts = [document.text for document in open_corpus(public)]
    content = learn(texts, kind, size)
    vocab = learned_vocabulary(str(out), kind, content)
    out.write_text(content, encoding="utf-8")
    typer.echo(f"{vocab.size} symbols in {out}; use them with --set \"vocabulary={kind}(file='{out}')\"")
