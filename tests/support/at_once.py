"""Many commands on one vault at once: every exit 0 is true of the file.

Run as `python -m tests.support.at_once --trials 50`. Each trial starts several processes at one path (under relative names,
links and full ones) and compares what they say with what the vault, the key file and the receipts hold afterwards.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedlm.config import RunConfig
from fedlm.errors import FedLMError
from fedlm.preparation.add import add
from fedlm.preparation.vault import prepare
from fedlm.vault.keys import KeySource
from fedlm.vault.operations import forget, rotate
from fedlm.vault.reader import Vault
from fedlm.vault.receipts import check_receipt

KINDS = ("prepares", "adds", "rotates", "forgets", "mixed", "one key file")
_SENTENCES = (
    "exists already",
    "in use",
    "is being changed",
    "is making the vault",
    "no vault at",
    "no client",
    "meantime",
    "missing",
)


def corpus(path: Path, users: Sequence[str], documents: int = 3) -> Path:
    """Writes a corpus whose text says who wrote it, and in which corpus."""
    lines = ({"user": u, "text": f"{u} writes {i} in {path.stem}."} for u in users for i in range(documents))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def act(what: str, vault: Path, key: Path, argument: str) -> Any:
    """Does one thing, in a process of its own; what it returns is what a user is told."""
    source = KeySource(key)
    if what == "prepare":
        config = RunConfig.checked({"scrub": "none", "holdout_fraction": 0.25})
        return prepare(argument, vault, source, config, lambda *_: None).clients
    if what == "add":
        return add(argument, vault, source, lambda *_: None).documents
    if what == "rotate":
        return rotate(vault, source)["epoch"]
    if what == "forget":
        return forget(vault, source, argument)
    opened = Vault(vault, source)
    try:
        return [len(opened.verify()), opened.strangers(), len(opened.pseudonyms)]
    finally:
        opened.close()


def child(arguments: list[str]) -> None:
    """Waits for the common start, acts, and prints the outcome as JSON."""
    start, what, vault, key, argument = arguments
    while time.time() < float(start):
        pass
    try:
        print(json.dumps({"said": act(what, Path(vault), Path(key), argument)}))
    except FedLMError as error:
        print(json.dumps({"error": str(error)}))


def names_of(vault: Path) -> list[Path]:
    """Returns several names of one path."""
    link = vault.parent / "link"
    if not link.exists():
        link.symlink_to(vault.parent, target_is_directory=True)
    return [vault, link / vault.name, vault.parent / "." / ".." / vault.parent.name / vault.name]


def at_once(jobs: list[tuple[str, Path, Path, str]]) -> list[dict[str, Any]]:
    """Forks a process for each job; all begin at one moment. Returns their outcomes."""
    start, running = str(time.time() + 0.05), []
    for what, vault, key, argument in jobs:
        read, write = os.pipe()
        if (pid := os.fork()) == 0:
            os.dup2(write, 1)
            sys.stdout = os.fdopen(1, "w")
            try:
                child([start, what, str(vault), str(key), argument])
                sys.stdout.flush()
            finally:
                os._exit(0)
        os.close(write)
        running.append((pid, read))
    found = []
    for pid, read in running:
        with os.fdopen(read) as pipe:
            text = pipe.read()
        os.waitpid(pid, 0)
        found.append(json.loads(text) if text else {"error": "no outcome"})
    return found


def texts(vault: Path, key: Path) -> dict[str, list[str]]:
    """Opens everything."""
    opened = Vault(vault, KeySource(key))
    assert opened.verify() == [] and opened.strangers() == 0
    found = {}
    for name, _ in opened.names():
        client = opened.pseudonym(name)
        found[name] = [*opened.documents(client), *opened.documents(client, 3)]  # type: ignore[arg-type]
    opened.close()
    return found


def trial(kind: str, folder: Path, rng: random.Random) -> int:
    """Makes one trial; returns how many commands succeeded. An AssertionError is a lie."""
    vault, key = folder / "v.db", folder / "v.key"
    names = names_of(vault)
    users = [f"u{i}" for i in range(rng.randint(2, 12))]
    if kind in ("prepares", "one key file"):
        made = [corpus(folder / f"c{i}.jsonl", users[: 2 + i]) for i in range(3)]
        paths = [names[i] if kind == "prepares" else folder / f"v{i}.db" for i in range(3)]
        jobs = [("prepare", path, key, str(text)) for path, text in zip(paths, made, strict=True)]
        jobs += [("verify", names[0], key, "")] * (kind == "prepares")
        done = at_once(jobs)[:3]
        _check_prepared(kind, done, paths, made, key)
        return sum("said" in d for d in done)
    act("prepare", vault, key, str(corpus(folder / "base.jsonl", users)))
    more = [corpus(folder / f"more{i}.jsonl", [rng.choice(users), f"new{i}"], 4) for i in range(3)]
    every = {
        "adds": [("add", str(m)) for m in more],
        "rotates": [("rotate", "")] * 3,
        "forgets": [("forget", users[0]), ("forget", users[0]), ("forget", users[1])],
        "mixed": [
            ("add", str(more[0])),
            ("rotate", ""),
            ("forget", users[0]),
            ("verify", ""),
            ("prepare", str(more[1])),
        ],
    }[kind]
    done = at_once([(what, rng.choice(names), key, argument) for what, argument in every])
    _check_changed(every, done, vault, key, users)
    return sum("said" in d for d in done)


def _check_prepared(kind: str, done: list[dict[str, Any]], paths: list[Path], made: list[Path], key: Path) -> None:
    winners = [i for i, d in enumerate(done) if "said" in d]
    assert len(winners) == (1 if kind == "prepares" else len(paths)), done
    for i in winners:
        found = texts(paths[i], key)
        assert done[i]["said"] == len(found), (done, len(found))
        assert all(made[i].stem in t for ts in found.values() for t in ts)
    _check_left(done, paths[0].parent)


def _check_changed(
    every: list[tuple[str, str]], done: list[dict[str, Any]], vault: Path, key: Path, users: list[str]
) -> None:
    found, expected = texts(vault, key), set(users)
    opened = Vault(vault, KeySource(key))
    epochs, public = opened.epoch, opened.public_key
    opened.close()
    changes = 0
    for (what, argument), outcome in zip(every, done, strict=True):
        if "said" not in outcome:
            continue
        assert what != "prepare", "a vault was there already"
        if what == "verify":
            assert outcome["said"][:2] == [0, 0]
        if what == "rotate":
            changes += 1
        if what == "forget":
            check_receipt(outcome["said"], public)
            expected.discard(argument)
        if what == "add":
            changes += 1
            stem = Path(argument).stem
            added = [t for ts in found.values() for t in ts if f"in {stem}." in t]
            assert len(added) >= outcome["said"] - 4  # what was added for a client that another command forgot
            expected.add(f"new{stem.removeprefix('more')}")
    forgotten = {a for (what, a), d in zip(every, done, strict=True) if what == "forget" and "said" in d}
    assert set(found) == expected, (every, done, sorted(found))
    assert epochs == 1 + changes + len(forgotten)
    _check_left(done, vault.parent)


def _check_left(done: list[dict[str, Any]], folder: Path) -> None:
    for outcome in done:
        assert "said" in outcome or any(s in outcome["error"] for s in _SENTENCES), outcome
    left = {p.name for p in folder.iterdir() if p.suffix not in (".jsonl", ".db", ".key")}
    assert left <= {"link"}, left


def main() -> None:
    """Runs the trials and prints how many commands succeeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for kind in KINDS:
        rng, succeeded = random.Random(given.seed), 0
        for _ in range(given.trials):
            folder = Path(tempfile.mkdtemp(prefix="fedlm-at-once-"))
            try:
                succeeded += trial(kind, folder, rng)
            finally:
                shutil.rmtree(folder)
        print(f"{kind}: {given.trials} trials, {succeeded} commands succeeded, each true of its vault", flush=True)


if __name__ == "__main__":
    main()
