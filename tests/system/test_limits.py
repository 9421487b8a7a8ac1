"""Machines as they come: a command ends well or with one sentence, and leaves nothing behind."""

import errno
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedlm.errors import MachineError
from fedlm.system.shortage import check_machine, shortage
from tests.support.machine import NOBODY
from tests.support.running import fedlm

ROOT = Path(__file__).parents[2]
TINY = ["rounds=1", "cohort_size=2", "model=lstm(units=4, layers=1)", "seq_len=20", "eval_every=1"]
SIMULATE = ["simulate", "v.db", *(w for s in TINY for w in ("--set", s)), "--workers", "2", "--out", "run"]
PREPARE = ["prepare", "mine.jsonl", "w.db", "--scrub", "none"]
PATTERNS, FULL = ([*PREPARE[:-1], scrub] for scrub in ("patterns", "full"))
INPUTS = {"mine.jsonl", "v.db", "v.db.key", "tmp", "home"}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a corpus, a vault, an empty TMPDIR and an empty HOME; not pytest's, which closes its own to other users."""
    with tempfile.TemporaryDirectory(prefix="limits-") as made:
        Path(made).chmod(0o755)
        yield filled(Path(made))


def filled(tmp_path: Path) -> Path:
    lines = [json.dumps({"user": f"u{i % 6}", "text": "some words of no one " * 20}) for i in range(60)]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines) + "\n")
    made = fedlm("prepare", "mine.jsonl", "v.db", "--scrub", "none", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    for name in ("tmp", "home"):
        (tmp_path / name).mkdir()
    return tmp_path


def under(setting: str, folder: Path, words: list[str], *first: str) -> subprocess.CompletedProcess[str]:
    """Runs a command after a line of shell, below the words of another program such as `unshare`."""
    line = f"{setting}; exec {shlex.join([sys.executable, '-m', 'fedlm', *words])}"
    variables = {
        **os.environ,
        "TMPDIR": str(folder / "tmp"),
        "HOME": str(folder / "home"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [*first, "bash", "-c", line],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def ended(done: subprocess.CompletedProcess[str], folder: Path, says: str | None) -> None:
    """Asserts that a command ended well, or with the one sentence, and that nothing is left besides what it made."""
    left = {p.name for p in folder.iterdir()} - INPUTS
    assert list((folder / "tmp").iterdir()) == [] and "Traceback" not in done.stderr
    assert str(folder) not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    if says is None:
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert left <= {"run", "w.db", "w.db.key"}
        return
    assert (done.returncode, done.stderr.count("\n"), says in done.stderr) == (4, 1, True), done.stderr
    assert done.stderr.startswith("fedlm: ") and left == set()


@pytest.mark.slow
@pytest.mark.flower
@pytest.mark.parametrize(
    ("limit", "words", "says"),
    [
        ("ulimit -n 8", SIMULATE, "raise the limit (ulimit -n)"),
        ("ulimit -n 12", SIMULATE, "raise the limit (ulimit -n)"),
        ("ulimit -n 16", SIMULATE, "raise the limit (ulimit -n)"),
        ("ulimit -n 24", SIMULATE, None),
        ("ulimit -n 5", PREPARE, "raise the limit (ulimit -n)"),
        ("ulimit -v 40000", PREPARE, "raise it (ulimit -v)"),
        ("ulimit -v 100000", PREPARE, "raise it (ulimit -v)"),
        ("ulimit -v 1500000", PREPARE, None),
        ("ulimit -v 250000", PREPARE, "(ulimit -v)"),
        ("ulimit -v 350000", PATTERNS, "Scrubbing needs at least"),
        ("ulimit -v 1500000", PATTERNS, None),
        ("ulimit -v 400000", FULL, "The names model needs at least"),
        ("ulimit -v 640000", FULL, "raise it (ulimit -v)"),
        ("ulimit -v 1500000", FULL, None),
        ("ulimit -v 600000", SIMULATE, "the limit is 0.6 GB"),
        ("ulimit -v 1200000", SIMULATE, "the limit is 1.2 GB"),
    ],
)
def test_a_limit_on_files_or_memory(folder: Path, limit: str, words: list[str], says: str | None) -> None:
    ended(under(limit, folder, words), folder, says)


@pytest.mark.slow
@pytest.mark.flower
def test_native_code_that_gives_up_later_is_one_sentence_too(folder: Path) -> None:
    done = under("ulimit -v 2300000", folder, SIMULATE)
    if done.returncode:  # TensorFlow loads, and has too little to compile
        assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr
        assert "0x" not in done.stderr and "2.4 GB" in done.stderr, done.stderr


def mounted() -> list[str]:
    """Returns the words before a command that may mount what no other process sees; skips where that is not allowed."""
    words = ["unshare", "--mount", "--propagation", "private"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*words, "mount", "-t", "tmpfs", "x", "/mnt"], check=False).returncode
    ):
        pytest.skip("nothing may be mounted here")
    return words


@pytest.mark.slow
@pytest.mark.flower
def test_runs_in_a_row_of_which_one_is_killed_leave_nothing_behind() -> None:
    # A /dev/shm of their own: other tests have names in that of all.
    line = f"mount -t tmpfs x /dev/shm; exec {shlex.quote(sys.executable)} -m benchmarks.many_runs --runs 3"
    done = subprocess.run(
        [*mounted(), "bash", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0 and "left behind: nothing" in done.stdout, done.stdout + done.stderr
    assert "2 to the end: exit 0" in done.stdout


@pytest.mark.slow
@pytest.mark.flower
@pytest.mark.parametrize(
    "setting",
    [
        "mount -t tmpfs -o size=1m x /dev/shm",
        "mount -t tmpfs -o size=64k x $TMPDIR; cat /dev/zero > $TMPDIR/fill 2> /dev/null",
        "mount -t tmpfs -o ro x $HOME; unset TMPDIR",
        "mount -t tmpfs -o ro x $HOME; mount -t tmpfs -o ro x $TMPDIR",
    ],
    ids=["shm", "full-tmp", "home", "home-and-tmp"],
)
def test_folders_of_the_system_that_take_nothing(folder: Path, setting: str) -> None:
    ended(under(setting, folder, SIMULATE, *mounted()), folder, None)


@pytest.mark.slow
@pytest.mark.flower
@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("true", None),
        ("export HOME=/nonexistent", None),
        ("ulimit -u 1", "(ulimit -u is 1)"),
        ("ulimit -u 5", "(ulimit -u is 5)"),
        ("ulimit -u 12", "(ulimit -u is 12)"),
    ],
)
def test_another_user_with_few_threads(folder: Path, setting: str, says: str | None) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY) if os.geteuid() == 0 else pytest.skip("only root can be another user")
    # The interpreter may lie in a home that others may not enter: it is shown below a folder that they may.
    place, home = folder / "home" / "python", Path(sys.base_prefix)
    shown = f"mkdir {place}; mount --bind {home} {place}; mount -t tmpfs -o mode=755 x /root; mkdir -p {home}; mount --bind {place} {home}"
    opened = f"{shown}; umount {place}; rmdir {place}; " if home.is_relative_to("/root") else ""
    if ROOT.is_relative_to("/root"):
        pytest.skip("another user may not enter the folder of the tests")
    first = [*mounted(), "bash", "-c", opened + 'exec "$@"', "bash"]
    user = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
    ended(under(setting, folder, SIMULATE, *first, *user), folder, says)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "not enough memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory"),
        (ImportError("libx.so.2: failed to map segment from shared object"), "not enough memory"),
        (RuntimeError("can't start new thread"), "No more threads"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "No more threads"),
        (OSError(errno.EMFILE, "Too many open files", "x"), "too many open files"),
    ],
)
def test_a_shortage_is_told_wherever_it_is_in_the_chain(error: Exception, says: str) -> None:
    outer = ImportError("something else")
    outer.__cause__ = error
    for raised in (error, outer):
        assert isinstance(found := shortage(raised), MachineError) and says in str(found)


@pytest.mark.parametrize(
    "error", [ImportError("no module x"), RuntimeError("x"), OSError(errno.ENOENT, "x"), ValueError()]
)
def test_other_errors_are_left_alone(error: Exception) -> None:
    assert shortage(error) is None


def test_what_a_machine_has_is_not_refused() -> None:
    check_machine(10**6, 4, "A test")
