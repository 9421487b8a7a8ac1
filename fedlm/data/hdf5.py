"""Reads TensorFlow Federated's HDF5 files: `examples/CLIENT/snippets`, or `tokens`, each a list of texts.

    examples/                group
      THE_TRAGEDY.../        group, a client
        snippets             data set of strings, (documents,)

https://www.tensorflow.org/federated/api_docs/python/tff/simulation/datasets/shakespeare

A process of its own reads the file: HDF5 is C code, in which a damaged file can crash or loop for ever.

Only what lies in the file itself is read. HDF5 can point elsewhere (external links, external storage, virtual data sets) and
at anything (soft links, references); a file that does is refused.
"""

import contextlib
import json
import os
import resource
import select
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from fedlm.data.lines import is_packed, read_bytes
from fedlm.data.names import client_name
from fedlm.errors import CorpusError
from fedlm.system.memory import forbid_core_dumps
from fedlm.system.processes import Process, child_environment, die_with_parent, module_command, start
from fedlm.types import Document

_GROUP, _TEXTS = "examples", ("snippets", "tokens")
_LARGEST_PIECE = 2**24  # bytes of a string of fixed length, and of a chunk that is unpacked at once
_AT_ONCE = 64  # strings in memory at a time
_PATIENCE = 30.0  # seconds without a text: only a damaged file takes so long
_MEMORY = 2**32  # bytes of address space of the process, beside the file
_GROWTH = 100  # bytes of text for each byte of the file: more than compressed text reaches
_LAYOUT = "examples/CLIENT/snippets (or tokens), as TensorFlow Federated writes it"


def read_hdf5(path: Path) -> Iterator[Document]:
    """Yields the texts of each client in the file's order; a client without any yields a blank one.

    Raises:
      CorpusError: it is not such a file, is damaged, or points outside itself.
    """
    process = start(module_command(__name__, path), child_environment(), piped=True)
    try:
        for line in _lines(process, path):
            found = json.loads(line)
            if isinstance(found, str):
                raise CorpusError(found)
            if found is None:
                return
            user, text, place = found
            yield Document(user, text, place=place)
        raise CorpusError(_damaged(path))
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _damaged(path: Path) -> str:
    return f"{path} is not an HDF5 file of the layout {_LAYOUT}, or it is damaged."


def _lines(process: Process, path: Path) -> Iterator[bytes]:
    """Yields the lines that the process writes; raises a CorpusError if it writes nothing for too long."""
    if process.stdout is None:
        raise TypeError("the process has no pipes")
    begun = b""
    while select.select([process.stdout], [], [], _PATIENCE)[0]:
        if not (piece := os.read(process.stdout.fileno(), 2**16)):
            return
        *lines, begun = (begun + piece).split(b"\n")
        yield from lines
    raise CorpusError(_damaged(path))


def main() -> None:
    """Writes the documents of the file that the command line names as lines of JSON, then null; or the sentence of an error."""
    die_with_parent()
    forbid_core_dumps()
    out, path = os.fdopen(os.dup(1), "w", encoding="utf-8"), Path(sys.argv[1])
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints must not be read as a reply
    most = _MEMORY + 2 * path.stat().st_size
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    try:
        for document in _read(path):
            out.write(json.dumps([document.user, document.text, document.place]) + "\n")
        out.write("null\n")
    except CorpusError as error:
        out.write(json.dumps(str(error)) + "\n")
    out.close()


def _read(path: Path) -> Iterator[Document]:
    """Yields what `read_hdf5` does, in this process."""
    import h5py

    packed = read_bytes(path) if is_packed(path) else None
    size = path.stat().st_size if packed is None else len(packed)
    left = _GROWTH * size
    try:
        with h5py.File(path if packed is None else BytesIO(packed), "r", locking=False) as content:
            for document in _all(content, size, path):
                left -= len(document.text)
                if left < 0:
                    raise CorpusError(f"{path} has more text than a file of its size can hold.")
                yield document
    except CorpusError:
        raise
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, OverflowError, MemoryError):
        raise CorpusError(_damaged(path)) from None


def _all(content: Any, size: int, path: Path) -> Iterator[Document]:
    import h5py

    clients = _own(content, _GROUP, h5py.Group, f"{path} has no group {_GROUP}")
    if not len(clients):
        raise CorpusError(f"{path} has no clients: its group {_GROUP} is empty.")
    for number, name in enumerate(clients, 1):
        where = f"client {number} of {path}"
        user = _user(name, _capital(where))
        client = _own(clients, user, h5py.Group, f"{_capital(where)} is no group")
        yield from _documents(client, user, size, where)


def _capital(where: str) -> str:
    return where[0].upper() + where[1:]


def _own(group: Any, name: str, kind: type, problem: str) -> Any:
    """Returns a member of a group that lies in this file.

    Raises:
      CorpusError: there is none, it is of another kind, or a link that is not a plain one.
    """
    import h5py

    links, encoded = group.id.links, name.encode()
    if not links.exists(encoded):  # unlike `name in group`, it opens nothing that a link names
        raise CorpusError(f"{problem}: the layout is {_LAYOUT}.")
    if links.get_info(encoded).type != h5py.h5l.TYPE_HARD:
        raise CorpusError(f"{problem}: it is a link to elsewhere, which is not followed.")
    found = group[name]
    if not isinstance(found, kind):
        raise CorpusError(f"{problem}: the layout is {_LAYOUT}.")
    return found


def _documents(client: Any, user: str, size: int, where: str) -> Iterator[Document]:
    import h5py

    key = next((key for key in _TEXTS if client.id.links.exists(key.encode())), _TEXTS[0])
    texts = _own(client, key, h5py.Dataset, f"{_capital(where)} has no data set {' or '.join(_TEXTS)}")
    count = _checked(texts, size, _capital(where))
    for first in range(0, count, _AT_ONCE):
        for place, value in enumerate(texts[first : first + _AT_ONCE], first + 1):
            own = f"Text {place} of {where}"
            yield Document(user, _text(value, own), place=own)
    if not count:
        yield Document(user, "", place=_capital(where))


def _user(name: str | bytes, where: str) -> str:
    """Returns a client's name; h5py gives one that is not UTF-8 as bytes."""
    if isinstance(name, bytes):
        raise CorpusError(f"{where} has a name that is not UTF-8.")
    if not client_name(name):
        raise CorpusError(f"{where} has an empty name: name who wrote its texts, or remove it.")
    return name


def _checked(texts: Any, size: int, where: str) -> int:
    """Returns the number of texts of a data set, after checks that reading it reads strings of this file, of a bounded size.

    Raises:
      CorpusError: it is of another kind, lies elsewhere, or claims more than the file can hold.
    """
    import h5py

    if texts.is_virtual or texts.external:
        raise CorpusError(f"{where} has its texts in another file, which is not read.")
    kind = h5py.check_string_dtype(texts.dtype)
    if kind is None or texts.shape is None or len(texts.shape) != 1:
        raise CorpusError(f"{where} has no list of strings: the layout is {_LAYOUT}.")
    piece = texts.dtype.itemsize * (texts.chunks or (1,))[0]
    if piece > _LARGEST_PIECE or texts.shape[0] > size:
        raise CorpusError(f"{where} claims more text than the file can hold.")
    return int(texts.shape[0])


def _text(value: object, where: str) -> str:
    content = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{where} is not text in UTF-8: byte {error.start + 1:,} is 0x{content[error.start]:02X}."
        ) from None
    if "\0" in text:
        raise CorpusError(f"{where} has a NUL byte: it is not text.")
    return text


if __name__ == "__main__":
    main()
