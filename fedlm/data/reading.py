"""What reading a corpus joined, passed over and followed: counts, and sentences for the user."""

from collections import Counter
from dataclasses import dataclass, field

from fedlm.data.names import Spellings

HIDDEN, SYSTEM, BACKUP, OTHER, SPECIAL, AGAIN = (
    "hidden",
    "of the system",
    "editor backups",
    "not .txt",
    "not regular files",
    "links to what is read anyway",
)
_SHOWN = 3  # targets of links


@dataclass
class Reading:
    """Filled while a corpus is read; names of clients are never in its sentences.

    Attributes:
      spellings: of the clients' names.
      ignored: files and folders that were not read, by reason.
      links: the folders outside the corpus that links led to, with the number of links.
    """

    spellings: Spellings = field(default_factory=Spellings)
    ignored: Counter[str] = field(default_factory=Counter)
    links: Counter[str] = field(default_factory=Counter)

    def counts(self) -> dict[str, object]:
        """Returns the counts for JSON."""
        clients, spellings = self.spellings.joined()
        return {
            "joined": {"clients": clients, "spellings": spellings},
            "ignored": dict(self.ignored),
            "links": sum(self.links.values()),
        }

    def sentences(self) -> tuple[str, ...]:
        """Returns a sentence for each thing that happened; () for a corpus that was read as it is."""
        told = []
        clients, spellings = self.spellings.joined()
        if clients:
            told.append(
                f"spellings joined: {spellings:,} of {clients:,} names, which differ in Unicode form, or in spaces and invisible "
                "characters at the ends"
            )
        if self.ignored:
            told.append(f"ignored in the folder: {ignored_words(self.ignored)}")
        if self.links:
            more = f" and {len(self.links) - _SHOWN:,} more" if len(self.links) > _SHOWN else ""
            told.append(
                f"links followed: {sum(self.links.values()):,}, to {', '.join(list(self.links)[:_SHOWN])}{more}"
            )
        return tuple(told)


def ignored_words(ignored: Counter[str]) -> str:
    """Returns counts of ignored files in words.

    >>> ignored_words(Counter({"hidden": 2, "not .txt": 1}))
    '2 hidden, 1 not .txt'
    """
    return ", ".join(f"{count:,} {reason}" for reason, count in ignored.items())
