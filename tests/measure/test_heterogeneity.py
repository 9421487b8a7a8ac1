"""What is told of the clients' data before anything is trained."""

import json
from pathlib import Path

import pytest

from tests.support.running import fedlm


def test_prepare_and_show_tell_how_clients_differ(tmp_path: Path) -> None:
    kinds = {"u0": "xxyy", "u1": "xxxx"}  # entropy 1 and 0 bits
    lines = [
        json.dumps({"user": u, "text": "caf\u00e9 bar", "kind": k}) for u, all_kinds in kinds.items() for k in all_kinds
    ]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    told = fedlm("prepare", "mine.jsonl", "v.db", "--scrub", "none", cwd=tmp_path).stdout
    assert (
        "Gini of client sizes 0.00, effective number of clients 2.0; label entropy within a client, in bits: kind 0.50"
        in told
    )
    plain = json.loads(fedlm("vault", "show", "v.db", "--json", cwd=tmp_path).stdout)
    assert (plain["size_gini"], plain["size_effective_number"]) == pytest.approx((0, 2))
    assert plain["label_entropy"] == {"kind": 0.5} and "ngram_distance" not in plain
    opened = json.loads(fedlm("vault", "show", "v.db", "--heterogeneity", "--json", cwd=tmp_path).stdout)
    assert opened["ngram_distance"] == 0 and opened["unknown_share"] == 1 / 8  # the letter that chars has not
    more = [json.dumps({"user": "u1", "text": t, "kind": "z"}) for t in ("something else", "the last, held out")]
    (tmp_path / "more.jsonl").write_text("\n".join(more))
    assert fedlm("vault", "add", "v.db", "more.jsonl", cwd=tmp_path).returncode == 0
    after = json.loads(fedlm("vault", "show", "v.db", "--heterogeneity", "--json", cwd=tmp_path).stdout)
    assert "label_entropy" not in after and after["size_gini"] > 0 and after["ngram_distance"] > 0
