"""Which files of a run no privacy ledger covers, and where they are.

Under differential privacy they are in the run's folder `private/` (mode 0700): figures without noise, and whatever names or
counts the clients of a round. Everything outside it may be published (docs/differential-privacy.md, "What is shown").
"""

from pathlib import Path

PRIVATE = "private"
CHECKPOINTS = "checkpoint"
PUBLIC = (
    "config.toml",
    "vocabulary.json",
    "ledger.json",
    "metrics.jsonl",
    "summary.json",
    "model.keras",
    "sample.txt",
    "report.html",
)
"""The files of a private run that may be published; a vault and its key, if they are in the folder, may not."""


def owned(run: Path, name: str) -> Path:
    """Returns where a run keeps a file or folder for its owner only: in `private/` if the run has one.

    A private run of an earlier version kept some of them beside it; there they stay.
    """
    private = run / PRIVATE
    return private / name if private.is_dir() and not (run / name).exists() else run / name
