"""Reads a folder of .txt files: a client is a file or a sub-folder, a document is a paragraph.

Files that no person wrote (hidden ones, those of the system, backups of editors) are passed over and counted. Links are
followed, each target once; a link that leads nowhere is refused, because the text behind it would be missing.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from fedlm.data.lines import read_text, suffix_of
from fedlm.data.reading import AGAIN, BACKUP, HIDDEN, OTHER, SPECIAL, SYSTEM, Reading, ignored_words
from fedlm.errors import CorpusError
from fedlm.types import Document

_SYSTEM = {
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
    "$recycle.bin",
    "recycler",
    "#recycle",
    "@recycle",
    "system volume information",
    "lost+found",
    "@eadir",
    "__pycache__",
}
_BACKUP = re.compile(r".*~|#.*#|~\$.*|.*\.(sw[a-p]|bak|orig|tmp|old|part|crdownload)", re.IGNORECASE | re.DOTALL)
_BLANK_LINES = re.compile(r"\n\s*\n")


def read_folder(root: Path, reading: Reading) -> Iterator[Document]:
    """Yields the paragraphs of a folder's .txt files in the order of their paths, with the users as names of files have them.

    A file without a paragraph, and a sub-folder without a .txt file, yield a blank document: a client without text is told.

    Raises:
      CorpusError: there is no .txt file, or a file or link cannot be read.
    """
    walk = _Walk(root, reading)
    files = sorted(walk.files())
    if not files:
        seen = f" It has {ignored_words(reading.ignored)}." if reading.ignored else ""
        raise CorpusError(f"The folder {root} has no .txt file.{seen}")
    for file in files:
        parts = file.relative_to(root).parts
        paragraphs = [p.strip() for p in _BLANK_LINES.split(read_text(file)) if p.strip()]
        for paragraph in paragraphs or [""]:
            yield Document(parts[0] if len(parts) > 1 else _stem(file), paragraph, place=str(file))
    for folder in walk.bare:
        yield Document(folder.name, "", place=str(folder))


def _stem(file: Path) -> str:
    return (file.with_suffix("") if file.suffix.lower() == ".gz" else file).stem


def _not_text(name: str) -> str:
    """Returns why a file or folder of this name is nobody's text; "" if it may be."""
    if name.lower() in _SYSTEM:
        return SYSTEM
    if name.startswith("."):
        return HIDDEN
    return BACKUP if _BACKUP.fullmatch(name) else ""


class _Walk:
    """Finds the files below a folder, through links, each once; counts what it passes over.

    Attributes:
      bare: folders directly below it that hold no text.
    """

    def __init__(self, root: Path, reading: Reading) -> None:
        self._folder, self._root, self._reading = root, Path(os.path.realpath(root)), reading
        self._seen = {self._root}  # what was read, without links in its path
        self.bare: list[Path] = []

    def files(self) -> Iterator[Path]:
        """Yields the text files below the folder.

        Raises:
          CorpusError: a file, folder or link cannot be read.
        """
        for path in self._entries(self._folder):
            again, found = self._reading.ignored[AGAIN], list(self._below(path))
            yield from found
            is_read_elsewhere = self._reading.ignored[AGAIN] > again
            if not found and not is_read_elsewhere and path.is_dir() and Path(os.path.realpath(path)) in self._seen:
                self.bare.append(path)

    def _below(self, path: Path) -> Iterator[Path]:
        """Yields a path if it is a text file, and the text files below it; folders may be nested thousands deep."""
        waiting = [path]
        while waiting:
            path = waiting.pop()
            try:
                is_taken, is_folder = self._is_taken(path), path.is_dir()
            except OSError as error:
                raise CorpusError(f"{path} cannot be read: {error.strerror}.") from None
            if is_taken and is_folder:
                waiting += reversed(self._entries(path))
            elif is_taken:
                yield path

    def _entries(self, folder: Path) -> list[Path]:
        try:
            return sorted(folder.iterdir())
        except OSError as error:
            raise CorpusError(f"The folder {folder} cannot be read: {error.strerror}.") from None

    def _is_taken(self, path: Path) -> bool:
        """Returns whether a file or folder is read here; notes that it was, or why it is not."""
        reason = _not_text(path.name) or self._why_not(path, Path(os.path.realpath(path)))
        if reason:
            self._reading.ignored[reason] += 1
        return not reason

    def _why_not(self, path: Path, target: Path) -> str:
        """Returns why a path is passed over, "" if it is not; `target` is what it leads to.

        Raises:
          CorpusError: it leads nowhere.
        """
        is_link, is_folder = path.is_symlink(), path.is_dir()
        if is_link and not target.exists():
            raise CorpusError(f"{path} is a link to nothing, or in a circle: remove it, or put back what it links to.")
        if target in self._seen or (is_link and (target in self._root.parents or self._is_read_anyway(target))):
            return AGAIN
        if not is_folder and not path.is_file():
            return SPECIAL  # reading a pipe would wait for ever
        if not is_folder and ".txt" not in (suffix_of(path), suffix_of(target)):
            return OTHER
        self._seen.add(target)
        if is_link:
            self._reading.links[str(target if is_folder else target.parent)] += 1
        return ""

    def _is_read_anyway(self, target: Path) -> bool:
        """Returns whether a target lies in the folder itself, and not below something hidden (as with git-annex)."""
        return target.is_relative_to(self._root) and not any(map(_not_text, target.relative_to(self._root).parts))
