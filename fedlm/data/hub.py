"""Data sets of the Hugging Face hub, through flwr-datasets; needs a network or a filled cache."""

import logging
from collections.abc import Iterator

from fedlm.data.files import whole
from fedlm.errors import CorpusError
from fedlm.types import Document

_USERS = ("user", "character_id", "client_id", "author", "speaker", "label")
_TEXTS = ("text", "x", "content", "sentence", "message")


def read_hub(name: str) -> Iterator[Document]:
    """Yields the train split of `NAME`, or of `NAME:USER_COLUMN:TEXT_COLUMN`.

    Raises:
      CorpusError: it cannot be loaded, its columns of users and texts are unknown, or a row lacks one of them.
    """
    name, *columns = name.split(":")
    for noisy in ("huggingface_hub", "datasets"):  # they log every retry
        logging.getLogger(noisy).setLevel(logging.ERROR)
    from flwr_datasets import FederatedDataset
    from flwr_datasets.partitioner import IidPartitioner

    try:
        rows = FederatedDataset(dataset=name, partitioners={"train": IidPartitioner(1)}).load_split("train")
    except (OSError, ValueError, ConnectionError) as error:
        reason = type(error).__name__
        raise CorpusError(
            f"The data set {name} could not be loaded ({reason}): check that it is on the hub or in the cache."
        ) from None
    user, text = columns if len(columns) == 2 else (_first(rows, _USERS, name), _first(rows, _TEXTS, name))
    if not {user, text} <= set(rows.column_names):
        raise CorpusError(f"The data set {name} has the columns {', '.join(rows.column_names)}, not {user} and {text}.")
    for number, row in enumerate(rows, 1):
        for column in (user, text):
            if row[column] is None:
                raise CorpusError(
                    f"Row {number} of the data set {name} has no {column}: prepare a copy without such rows."
                )
        labels = {k: whole(str(v)) for k, v in row.items() if k not in (user, text) and isinstance(v, str | int)}
        yield Document(whole(str(row[user])), whole(str(row[text])), labels)


def _first(rows: object, wanted: tuple[str, ...], name: str) -> str:
    """Returns the first of the wanted columns that the data set has."""
    columns: list[str] = rows.column_names  # type: ignore[attr-defined]
    for column in wanted:
        if column in columns:
            return column
    raise CorpusError(f"Name the columns of users and texts as hf:{name}:USER:TEXT; {name} has {', '.join(columns)}.")
