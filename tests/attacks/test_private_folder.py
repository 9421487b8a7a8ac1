"""Two vaults that differ by one client, and runs with the same noise: what is outside `private/` does not tell them apart.

The further client adds nothing to a sum (its training text does not open), and the noise follows from the seed. What then
differs would be a figure that no noise covers: a cohort, a count, a time.
"""

import json
import re
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import pytest

from fedlm.config import RunConfig
from fedlm.preparation.vault import prepare
from fedlm.privacy.folder import CHECKPOINTS, PRIVATE, PUBLIC, owned
from fedlm.privacy.ledger import Ledger
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from server.run.participation import ParticipationLedger
from server.store.forgotten import Forgotten
from server.store.run_folder import RunFolder
from tests.support import running

SETTINGS = {"scrub": "none", "pseudonym_key": "seed"}
PRIVACY = [
    "mechanism=gaussian",
    "weighting=uniform",
    "clip_norm=0.5",
    "noise_multiplier=1.0",
    "sampling_rate=1.0",
    "max_client_tokens=1000000",
]
SMALL = ["model=lstm(units=8, layers=1)", "seq_len=12", "rounds=2", "cohort_size=12", "eval_every=1", "workers=1"]


def neighbour(folder: Path, clients: int) -> Path:
    """A vault of twelve clients, and perhaps a thirteenth whose training text does not open: it adds nothing to a sum."""
    folder.mkdir()
    names = [f"u{i:02d}" for i in range(clients)]
    rows = [{"user": u, "text": f"{u} says {w} {w}"} for u in names for w in ("ay", "no", "so", "we")]
    (folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    source, vault = KeySource(folder / "v.db.key"), folder / "v.db"
    prepare(str(folder / "rows.jsonl"), vault, source, RunConfig.checked(SETTINGS), lambda *_: None)
    for name in names[12:]:
        opened = Vault(vault, source)
        row_id = opened.row_id(name)
        opened.close()
        with sqlite3.connect(vault) as database:
            (blob,) = database.execute("SELECT train FROM shard WHERE row_id = ?", (row_id,)).fetchone()
            database.execute("UPDATE shard SET train = ? WHERE row_id = ?", (blob[:-1] + bytes([blob[-1] ^ 1]), row_id))
        database.close()
    return vault


def outside(run: Path) -> dict[str, bytes]:
    return {str(p.relative_to(run)): p.read_bytes() for p in sorted(run.rglob("*")) if p.is_file() and PRIVATE not in p.parts}  # fmt: skip


def content(file: str, found: bytes, tmp: Path) -> object:
    """What a file says: of a model, without the date, and without Keras' counts and addresses of objects."""
    if not file.endswith(".keras"):
        return found
    (tmp / "m.keras").write_bytes(found)
    with zipfile.ZipFile(tmp / "m.keras") as archive:
        chance = rb'"date_saved": "[^"]*"|_\d+(?=")|"shared_object_id": \d+'
        return {n: re.sub(chance, b"", archive.read(n)) for n in archive.namelist()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, made = tmp_path_factory.mktemp("neighbours"), list[Path]()
    for clients in (12, 13):
        vault = neighbour(folder / f"{clients}", clients)
        opened = Vault(vault, KeySource(vault.with_name("v.db.key")))
        assert len(opened.pseudonyms) == clients
        opened.close()
        sets = [w for s in [*PRIVACY, *SMALL, "reproducible=true"] for w in ("--set", s)]
        done = running.fedlm("simulate", vault, "--out", folder / f"run-{clients}", *sets, cwd=folder)
        assert done.returncode == 0, done.stderr
        made.append(folder / f"run-{clients}")
    return made


@pytest.mark.slow
@pytest.mark.flower
def test_files_outside_private_are_those_that_may_be_published_and_the_same_for_neighbours(
    runs: list[Path], tmp_path: Path
) -> None:
    twelve, thirteen = map(outside, runs)
    assert set(twelve) == set(thirteen) <= {*PUBLIC, ".lock"}
    for file in set(twelve) - {".lock"}:
        assert content(file, twelve[file], tmp_path) == content(file, thirteen[file], tmp_path), file
    assert (runs[0] / PRIVATE).stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
@pytest.mark.flower
def test_what_tells_the_neighbours_apart_is_in_private(runs: list[Path]) -> None:
    cohorts = [[len(e.clients) for e in ParticipationLedger(run).rounds()] for run in runs]
    assert cohorts == [[12, 12], [13, 13]]  # the runs do differ, or the test above would show nothing
    for run in runs:
        secret = {p.name for p in (run / PRIVATE / CHECKPOINTS).iterdir()}
        assert {"participation.jsonl", "latest.safetensors", "ledger.count", "vault.json"} <= secret
        assert not (run / CHECKPOINTS).exists()


def private(folder: Path) -> RunFolder:
    values: dict[str, Any] = dict(setting.split("=") for setting in PRIVACY)
    return RunFolder.create(folder, RunConfig.checked(values))


def test_cohort_key_count_of_releases_and_forgotten_clients_are_in_private(tmp_path: Path) -> None:
    from server.store.cohort_key import secret_key

    folder = private(tmp_path / "run")
    secret_key(folder.checkpoints, begun=False)
    Ledger.open(folder.path / "ledger.json", folder.config.privacy)._count()
    Forgotten(frozenset({5})).write(folder.path)
    ParticipationLedger(folder.path).start([b"1"], init=False)
    assert {p.name for p in folder.path.iterdir()} == {"config.toml", "ledger.json", PRIVATE}
    assert Forgotten.read(folder.path).clients == {5}


def test_a_private_run_of_an_earlier_version_is_read_where_it_is(tmp_path: Path) -> None:
    folder = private(tmp_path / "run")
    (folder.path / CHECKPOINTS).mkdir()
    (folder.path / "forgotten.json").write_text(Forgotten(frozenset({5})).as_json())
    assert folder.checkpoints == folder.path / CHECKPOINTS == owned(folder.path, CHECKPOINTS)
    assert Forgotten.read(folder.path).clients == {5}
