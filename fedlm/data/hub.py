"""Data sets of the Hugging Face hub, through flwr-datasets; needs a network or a filled cache."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from fedlm.data.files import field, labels_of
from fedlm.errors import CorpusError
from fedlm.types import Document

_USERS = ("user", "character_id", "client_id", "author", "speaker", "label")
_TEXTS = ("text", "x", "content", "sentence", "message")


def read_hub(name: str) -> Iterator[Document]:
    """Yields the train split of `NAME`, or of `NAME:USER_COLUMN:TEXT_COLUMN`.

    Raises:
      CorpusError: it cannot be loaded, its columns of users and texts are unknown, or a row lacks one of them, or holds
        something other than text, a whole number or a chat.
    """
    name, *columns = name.split(":")
    if not name:
        raise CorpusError("The name of the data set is empty: write hf:NAME, or hf:NAME:USER:TEXT.")
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
        where = f"Row {number} of the data set {name}"
        values = {"user": row[user], "text": row[text]}
        labels = labels_of({k: v for k, v in row.items() if isinstance(v, str | int)}, where, user, text)
        yield Document(_user(values, where), field(values, "text", where), labels, place=where)


def _user(values: Mapping[str, Any], where: str) -> str:
    """Returns a row's user: also a flag, because a data set of two classes may be dealt by class."""
    return str(values["user"]) if isinstance(values["user"], bool) else field(values, "user", where)


def _first(rows: object, wanted: tuple[str, ...], name: str) -> str:
    """Returns the first of the wanted columns that the data set has."""
    columns: list[str] = rows.column_names  # type: ignore[attr-defined]
    for column in wanted:
        if column in columns:
            return column
    raise CorpusError(f"Name the columns of users and texts as hf:{name}:USER:TEXT; {name} has {', '.join(columns)}.")
