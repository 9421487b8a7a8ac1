"""Looks for planted markers and for keys in every byte that fedlm leaves behind or sends.

    python -m tests.support.leaks FOLDER

plays the thorough version: a preparation, an addition, runs and a study that are killed and taken up again, evaluation,
text, reports, rotation, deletion from vault and run, a passphrase, differential privacy, Ray, and a deployment.
`tests/test_leaks.py` plays the short one. HOME, TMPDIR, FLWR_HOME and the caches all lie in the folder, so that whatever
a process drops is searched.
"""

import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fedlm.config import RunConfig
from fedlm.vault.keys import KeySource
from tests.support.leak_markers import Needle, files, key_file, keys_of, plan_needles, search, write_corpus

# Where names of labels are shown to the owner (docs/how-to/own-text.md). Their values are in the needle "label".
NAMED = re.compile(r"^(said/\d+-prepare|work/[^/]+/summary\.json): label's name, as it is$")
SETTINGS = ["rounds=4", "cohort_size=2", "eval_every=1", "model=lstm(units=8, layers=1)"]
PRIVATE = [
    "mechanism=gaussian",
    "clip_norm=0.5",
    "noise_multiplier=1.0",
    "sampling_rate=0.5",
    "weighting=uniform",
    "max_client_tokens=1000000",
]


class Stage:
    """A folder in which commands run, everything they write staying inside.

    Args:
      folder: empty; the input lies in `input`, which is not searched, and the rest is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.corpus = folder, folder / "input" / "corpus.jsonl"
        for name in ("input", "home", "tmp", "cache", "flower", "work", "said"):
            (folder / name).mkdir(parents=True)
        self.large, self.more = (self.corpus.with_name(f"{name}.jsonl") for name in ("large", "more"))
        planned = plan_needles()
        self.users = write_corpus(self.corpus, planned)
        write_corpus(self.large, planned, clients=20, documents=60)
        write_corpus(self.more, planned)
        self.passphrase = secrets.token_hex(12)
        self.needles = [*planned.values(), Needle("passphrase", self.passphrase.encode())]
        self._count = 0

    @property
    def environment(self) -> dict[str, str]:
        """Every place where a process might write by default."""
        places = {"HOME": "home", "TMPDIR": "tmp", "XDG_CACHE_HOME": "cache", "MPLCONFIGDIR": "cache"}
        places |= {"FLWR_HOME": "flower", "RAY_TMPDIR": "tmp", "SQLITE_TMPDIR": "tmp", "XDG_CONFIG_HOME": "home"}
        return {**os.environ, **{k: str(self.folder / v) for k, v in places.items()}, "PASS": self.passphrase}

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
        keys = [k for v in sorted(work.rglob("*.db")) if key_file(v).exists() for k in keys_of(v)]
        kept = files(self.folder, lambda p: p.suffix == ".key" or p.is_relative_to(self.folder / "input"))
        hits, total = search(kept, self.needles + keys, config)
        return [hit for hit in hits if not NAMED.search(hit)], total


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
    """The short version, and every other command that sees text or a key."""
    play_short(stage)
    work, names = stage.folder / "work", stage.users
    stage.run("evaluate", "run", "--json")
    stage.run("evaluate", "run", "--corpus", stage.corpus, "--json")
    stage.run("generate", "run", "--prompt", "The ", "--length", 200)
    stage.run("report", "run")
    _change_the_vault(stage, work, names)
    stage.run("simulate", stage.corpus, *settings("scrub=patterns"), "--out", "from-corpus")
    stage.run("simulate", "v.db", *settings(*PRIVATE), "--out", "private")
    stage.run("simulate", "v.db", *settings(), "--out", "ray", "--engine", "ray", "--workers", 2)
    stage.run("prepare", stage.corpus, "p.db", "--scrub", "patterns", "--passphrase-env", "PASS")
    stage.run("simulate", "p.db", *settings("rounds=1"), "--out", "p", "--workers", 1, "--passphrase-env", "PASS")
    os.environ["PASS"] = stage.passphrase
    stage.needles += keys_of(work / "p.db", KeySource(passphrase_env="PASS"))
    _deploy(stage, work)
    study = ("study", "quantity_imbalance", "--quick", "--seeds", 1, "--corpus", stage.large, "--out", "study")
    tune = ("tune", stage.corpus, "--grid", "local_epochs=1,2", "--seeds", 1, *settings("rounds=2"), "--out", "tuned")
    for command, folder in ((study, "study"), (tune, "tuned")):
        stage.kill_when(lambda made=work / folder: any(made.rglob("metrics.jsonl")), *command)
        stage.run(*command)


def _change_the_vault(stage: Stage, work: Path, names: list[str]) -> None:
    """New text, a new key, and a client that leaves the model and the vault; keys of before are looked for too."""
    stage.kill_when((work / "v.db.spool").exists, "vault", "add", "v.db", stage.more)
    stage.run("vault", "add", "v.db", stage.more)
    stage.run("vault", "verify", "v.db")
    for command in (("rotate", "v.db"), ("forget", "v.db", names[0], "--receipt", "receipt.json")):
        stage.needles += keys_of(work / "v.db")
        stage.run("vault", *command)
    log = work / "run" / "metrics.jsonl"

    def begun() -> bool:
        trains = log.is_file() and not (work / "run" / "summary.json").exists()
        return trains and log.read_bytes().count(b"\n") > 1

    words = ("forget", names[0], "--run", "run", "--vault", "v.db")
    stage.kill_when(begun, *words)
    stage.run(*words)
    stage.run("vault", "verify", "v.db", "--receipt", "receipt.json")


def _deploy(stage: Stage, work: Path) -> None:
    """A deployment; what its message store holds after a run is kept and searched."""
    stage.run("deploy", "init", "d", "--nodes", 2, "--corpus", stage.large, *settings("scrub=patterns", "rounds=2"))
    try:
        stage.run("deploy", "up", "d")
        stage.run("deploy", "run", "d", "--out", "deployed")
        for file in (work / "d" / "server").glob("state.db*"):
            shutil.copyfile(file, work / f"kept-{file.name}")
    finally:
        stage.run("deploy", "down", "d")


def main() -> None:
    """Plays the long version in a folder and says what was found."""
    stage = Stage(Path(sys.argv[1]).resolve())
    play_long(stage)
    hits, total = stage.leaks()
    words = stage.corpus.read_text() + stage.large.read_text() + stage.more.read_text()
    planted = words.count("zq")
    print(f"{total} bytes, {planted} planted words, {len(stage.needles)} markers and keys of before: {len(hits)} hits")
    sys.exit("\n".join(hits) if hits else 0)


if __name__ == "__main__":
    main()
