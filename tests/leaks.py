"""Looks for planted markers and for keys in every byte that fedlm leaves behind or sends.

    python -m tests.leaks FOLDER

plays the thorough version: a preparation and a run that are killed and taken up again, evaluation, text, a report, a run on
Ray, a study. `tests/test_leaks.py` plays the short one. HOME, TMPDIR, FLWR_HOME and the caches all lie in the folder, so
that whatever a process drops is searched.
"""

import base64
import gzip
import json
import os
import secrets
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from fedlm.config import RunConfig
from fedlm.vault.format import Part, Place, unseal
from fedlm.vault.keys import KeySource
from fedlm.vault.store import Vault

SETTINGS = ["rounds=4", "cohort_size=2", "eval_every=1", "model=lstm(units=8, layers=1)"]


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


def write_corpus(path: Path, clients: int = 4, documents: int = 6) -> list[Needle]:
    """Writes a corpus with a marker in every field: user, text (a plain word, a name, an address), a label and its name."""
    needles: list[Needle] = []

    def plant(what: str) -> str:
        needles.append(Needle(what, _word().encode()))
        return needles[-1].raw.decode()

    key = plant("label's name")
    with path.open("w") as out:
        for _ in range(clients):
            user, label = plant("user"), plant("label")
            for _ in range(documents):
                mail, name, word = plant("e-mail"), plant("person"), plant("plain word")
                text = f"Dear {name.capitalize()} Smith, write to {mail}@mail.com about {word} and the weather today."
                out.write(json.dumps({"user": user, key: label, "text": text}) + "\n")
    return needles


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


def _key_file(vault: Path) -> Path:
    """Returns the key file beside a vault: of `prepare`, or of a study."""
    beside = vault.with_name(f"{vault.name}.key")
    return beside if beside.exists() else vault.with_suffix(".key")


def keys_of(vault_path: Path) -> list[Needle]:
    """Returns every key of a vault: its own, those derived, those sealed in it, and each client's."""
    vault = Vault(vault_path, KeySource(_key_file(vault_path)))
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


class Stage:
    """A folder in which commands run, everything they write staying inside.

    Args:
      folder: empty; the input lies in `input`, which is not searched, and the rest is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.corpus = folder, folder / "input" / "corpus.jsonl"
        for name in ("input", "home", "tmp", "cache", "flower", "work", "said"):
            (folder / name).mkdir(parents=True)
        self.needles = write_corpus(self.corpus)
        self._count = 0

    @property
    def environment(self) -> dict[str, str]:
        """Every place where a process might write by default."""
        places = {"HOME": "home", "TMPDIR": "tmp", "XDG_CACHE_HOME": "cache", "MPLCONFIGDIR": "cache"}
        places |= {"FLWR_HOME": "flower", "RAY_TMPDIR": "tmp", "SQLITE_TMPDIR": "tmp", "XDG_CONFIG_HOME": "home"}
        return {**os.environ, **{k: str(self.folder / v) for k, v in places.items()}, "FLWR_TELEMETRY_ENABLED": "0"}

    def start(self, *words: object) -> subprocess.Popen[bytes]:
        """Starts a command whose two streams are kept."""
        self._count += 1
        log = self.folder / "said" / f"{self._count}-{words[0]}"
        command = [sys.executable, "-m", "fedlm", *map(str, words)]
        with log.open("wb") as out:
            return subprocess.Popen(
                command, cwd=self.folder / "work", env=self.environment, stdout=out, stderr=subprocess.STDOUT
            )

    def run(self, *words: object) -> None:
        """Runs a command to its end."""
        process = self.start(*words)
        code = process.wait(timeout=900)
        said = (self.folder / "said" / f"{self._count}-{words[0]}").read_text()
        assert code == 0, f"{words[0]} ended with {code}: {said[-500:]}"

    def kill_when(self, there: Callable[[], bool], *words: object) -> None:
        """Runs a command and kills it by SIGKILL as soon as something is there."""
        process = self.start(*words)
        while not there() and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        process.wait()

    def leaks(self) -> tuple[list[str], int]:
        """Searches all but the input and the key files."""
        config = RunConfig.checked({})
        work = self.folder / "work"
        keys = [k for v in sorted(work.rglob("*.db")) for k in keys_of(v)]
        kept = files(self.folder, lambda p: p.suffix == ".key" or p.is_relative_to(self.folder / "input"))
        return search(kept, self.needles + keys, config)


def settings(*more: str) -> list[str]:
    """Returns the options of a small run."""
    return [w for s in (*SETTINGS, *more) for w in ("--set", s)]


def play_short(stage: Stage) -> None:
    """A preparation and a run, both killed and taken up again."""
    work = stage.folder / "work"
    stage.kill_when((work / "v.db.partial").exists, "prepare", stage.corpus, "v.db", "--scrub", "full")
    if not (work / "v.db").exists():
        (work / "v.db.key").unlink(missing_ok=True)
        stage.run("prepare", stage.corpus, "v.db", "--scrub", "full")
    log = work / "run" / "metrics.jsonl"
    begun = lambda: log.is_file() and log.read_bytes().count(b"\n") > 1  # noqa: E731
    stage.kill_when(begun, "simulate", "v.db", *settings(), "--out", "run", "--workers", 1)
    stage.run("simulate", "v.db", "--out", "run", "--resume", "--workers", 1)


def play_long(stage: Stage) -> None:
    """The short version, and every other command that sees text."""
    play_short(stage)
    stage.run("evaluate", "run", "--json")
    stage.run("generate", "run", "--prompt", "The ", "--length", 200)
    stage.run("report", "run")
    stage.run("vault", "verify", "v.db")
    stage.run("vault", "rotate", "v.db")
    stage.run("simulate", stage.corpus, *settings("scrub=patterns"), "--out", "from-corpus")
    stage.run("simulate", "v.db", *settings(), "--out", "ray", "--engine", "ray", "--workers", 2)
    study = ("study", "label_skew", "--quick", "--seeds", 1, "--corpus", stage.corpus, "--out", "study")
    stage.kill_when(lambda: any((stage.folder / "work" / "study").rglob("metrics.jsonl")), *study)
    stage.run(*study)


def main() -> None:
    """Plays the long version in a folder and says what was found."""
    stage = Stage(Path(sys.argv[1]).resolve())
    play_long(stage)
    hits, total = stage.leaks()
    print(f"{total} bytes, {len(stage.needles)} markers: {len(hits)} hits")
    sys.exit("\n".join(hits) if hits else 0)


if __name__ == "__main__":
    main()
