"""Throughput of unsealing on one core: bytes of text a CPU second, from a vault on disk to plain bytes in memory.

    python benchmarks/unsealing.py [--megabytes 64] [--shard-megabytes 1]

A vault of shards of that size is made in a temporary folder, every shard is opened once to warm the page cache, then five
times more. CPU time of this one thread counts, so that other jobs on the machine change the figure little.
"""

import argparse
import secrets
import tempfile
import time
from pathlib import Path

from fedlm.scrub.engine import Scrubber
from fedlm.vault.keys import KeySource, create_key_file
from fedlm.vault.reader import ClientShard, Vault, VaultWriter

MEGABYTE = 1_000_000


def make(folder: Path, shards: int, size: int) -> tuple[Path, KeySource]:
    """Seals random text; returns the vault and its key."""
    source = KeySource(folder / "key")
    create_key_file(folder / "key")
    writer, scrubber = VaultWriter(folder / "v.db", source), Scrubber("none")
    for i in range(shards):
        text = scrubber.scrub(secrets.token_hex(size // 2))
        writer.add(ClientShard(f"client {i}", [text], [scrubber.scrub("held out")], 1, 1))
    writer.finish({})
    return folder / "v.db", source


def main() -> None:
    """Prints one line a pass."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=64)
    parser.add_argument("--shard-megabytes", type=float, default=1.0)
    options = parser.parse_args()
    size = int(options.shard_megabytes * MEGABYTE)
    with tempfile.TemporaryDirectory() as folder:
        vault = Vault(*make(Path(folder), max(1, options.megabytes * MEGABYTE // size), size))
        clients = [int(p) for p in vault.pseudonyms]
        for turn in range(6):
            start = time.thread_time()
            total = sum(len(vault.unseal(c)) for c in clients)
            seconds = time.thread_time() - start
            if turn:
                print(f"{total / seconds / MEGABYTE:,.0f} MB a CPU second, {len(clients)} shards of {size} bytes")
        vault.close()


if __name__ == "__main__":
    main()
