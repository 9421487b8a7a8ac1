"""What must be nowhere, in every form that it is looked for: markers of a corpus, keys of a vault."""

import base64
import gzip
import json
import secrets
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from fedlm.config import RunConfig
from fedlm.vault.format import Part, Place, unseal
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault


def _word() -> str:
    """Returns a word of letters that is nowhere else."""
    return "zq" + "".join(secrets.choice("bcdfghjkmnpqrstvwxz") for _ in range(14))


@dataclass(frozen=True)
class Needle:
    """Bytes that must be nowhere.

    Attributes:
      what: says what was found without repeating it.
      raw: the bytes.
    """

    what: str
    raw: bytes


def plan_needles() -> dict[str, Needle]:
    """Returns a marker for every field of a corpus: user, text (a plain word, a name, an address), a label and its name.

    Each word that is planted begins with its field's marker, so that six markers stand for any number of words.
    """
    kinds = ("user", "label's name", "label", "e-mail", "person", "plain word")
    return {what: Needle(what, _word().encode()) for what in kinds}


def write_corpus(path: Path, needles: dict[str, Needle], clients: int = 4, documents: int = 6) -> list[str]:
    """Writes a corpus with a marker in every field; returns the users' names."""
    users = []

    def plant(what: str) -> str:
        return needles[what].raw.decode() + "".join(secrets.choice("bcdfghjk") for _ in range(4))

    key = plant("label's name")
    with path.open("w") as out:
        for _ in range(clients):
            user, label = plant("user"), plant("label")
            users.append(user)
            for _ in range(documents):
                mail, name, word = plant("e-mail"), plant("person"), plant("plain word")
                text = f"Dear {name.capitalize()} Smith, write to {mail}@mail.com about {word} and the weather today."
                out.write(json.dumps({"user": user, key: label, "text": text}) + "\n")
    return users


def forms(needle: Needle, config: RunConfig | None = None) -> Iterator[tuple[str, bytes]]:
    """Yields the needle in every form that is searched for."""
    raw = needle.raw
    yield "as it is", raw
    yield "hexadecimal", raw.hex().encode()
    yield "hexadecimal, capitals", raw.hex().upper().encode()
    yield "decimal list", str(list(raw)).strip("[]").encode()
    for shift in range(3):  # the same bytes at each of the three places of base64
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield "base64", encode(bytes(shift) + raw)[4:-4]
    if raw.isalpha():
        text = raw.decode()
        yield "capitals", text.upper().encode()
        yield "capitalised", text.capitalize().encode()
        for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
            yield encoding, text.encode(encoding)
        if config is not None:
            ids = config.vocab.encode(text)
            for dtype in ("<u1", "<u2", "<i4", "<i8", "<f4"):
                yield f"token ids {dtype}", ids.astype(dtype).tobytes()


def unpacked(name: str, content: bytes, depth: int = 3) -> Iterator[tuple[str, bytes]]:
    """Yields a file and what is packed in it."""
    yield name, content
    if depth and content[:4] == b"PK\3\4":
        with zipfile.ZipFile(BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from unpacked(f"{name}!{member}", archive.read(member), depth - 1)
    elif depth and content[:2] == b"\x1f\x8b":
        yield from unpacked(f"{name}!gz", gzip.decompress(content), depth - 1)
    elif content[:4] == b"PAR1":
        import pyarrow.parquet

        yield f"{name}!rows", repr(pyarrow.parquet.read_table(BytesIO(content)).to_pydict()).encode()


def search(
    places: Iterator[tuple[str, bytes]], needles: list[Needle], config: RunConfig | None = None
) -> tuple[list[str], int]:
    """Returns where something was found, and how many bytes were searched."""
    wanted = [(f"{n.what}, {form}", found) for n in needles for form, found in forms(n, config) if len(found) >= 8]
    hits, total = [], 0
    for place, content in places:
        for name, piece in unpacked(place, content):
            total += len(piece)
            hits += [f"{name}: {what}" for what, found in wanted if found in piece]
    return hits, total


def files(folder: Path, leave: Callable[[Path], bool]) -> Iterator[tuple[str, bytes]]:
    """Yields every file of a folder, and its name with every file: a name can tell something too."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        yield f"the name {name!r}", name.encode()
        if path.is_file() and not path.is_symlink() and not leave(path):
            yield name, path.read_bytes()


def key_file(vault: Path) -> Path:
    """Returns the key file beside a vault: of `prepare`, or of a study."""
    beside = vault.with_name(f"{vault.name}.key")
    return beside if beside.exists() else vault.with_suffix(".key")


def keys_of(vault_path: Path, source: KeySource | None = None) -> list[Needle]:
    """Returns every key of a vault: its own, those derived, those sealed in it, and each client's."""
    vault = Vault(vault_path, source or KeySource(key_file(vault_path)))
    head = vault._head
    found = {
        "vault key": head.keys.vault,
        "wrapping key": head.keys.wrap,
        "index key": head.keys.index,
        "row key": head.secrets.row_key,
        "signing key": head.secrets.signing_key,
        "pseudonym key": head.secrets.pseudonym_key,
    }
    rows = vault._db.execute("SELECT row_id, wrapped_key FROM client").fetchall()
    data_keys = [unseal(head.keys.wrap, Place(vault.vault_id, Part.DATA_KEY, r), k) for r, k in rows]
    vault.close()
    return [Needle(what, key) for what, key in found.items()] + [Needle("data key", k) for k in data_keys]
