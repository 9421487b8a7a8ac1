"""What `fedlm evaluate` prints of a model's bias: sentence pairs, associations of continuations, swapped names."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fedlm.errors import ConfigError
from fedlm.system.figures_json import to_json

if TYPE_CHECKING:
    from fedlm.measure.spans import Gap
    from fedlm.measure.statistics import Interval

OCCUPATIONS, GIVEN = "occupations", "given"


def pairs(run: Path, file: str, as_json: bool) -> None:
    """Prints the log-probability gap of sentence pairs, over all and per kind of bias."""
    from fedlm.data.planted import PROBES, official_shares
    from fedlm.measure.bias import bias_by_kind, bias_score
    from fedlm.measure.pairs import read_pairs, template_pairs
    from fedlm.training.evaluate import continuation_scorer, scorer

    found = template_pairs(PROBES, official_shares()) if file == OCCUPATIONS else read_pairs(Path(file))
    trainer = _reader(run)
    score, continue_ = scorer(trainer), continuation_scorer(trainer)
    scores = {"all": bias_score(found, score, continue_)} | bias_by_kind(found, score, continue_)
    title = (
        "stereotyped minus other, in nats per pair, with the standard error (clustered by occupation): log P of the text after "
        "the difference; centred log-odds of the pronouns; log P of the sentence (and per symbol)"
    )
    _print(
        scores,
        title,
        lambda s: (
            f"after {_one(s.after)}; log-odds {_one(s.log_odds)}; sentence {_with_error(s.raw, s.per_symbol)}, "
            f"{100 * s.preferred:.0f} % of {s.raw.count} pairs preferred"
        ),
        as_json,
    )


def associations(run: Path, file: str, as_json: bool) -> None:
    """Prints association tests on continuations."""
    from fedlm.data.planted import official_shares
    from fedlm.measure.association import association, occupation_test, read_tests
    from fedlm.training.evaluate import continuation_scorer

    tests = {OCCUPATIONS: occupation_test(official_shares())} if file == OCCUPATIONS else read_tests(Path(file))
    score = continuation_scorer(_reader(run))
    found = {name: association(test, score) for name, test in tests.items()}
    title = (
        "differential association of beginnings with ends, in nats (and per symbol), with the standard error (clustered by "
        "target word, G/(G-1)) and the 95 % interval (t, Welch-Satterthwaite); p by permutation of target words"
    )
    _print(
        found,
        title,
        lambda a: (
            f"{_with_error(a.raw, a.per_symbol)}, {_ends(a.interval)}, d {a.effect_size:+.2f}, p {a.p_value:.3g}, "
            f"{a.raw.count} beginnings of {a.interval.count} words"
        ),
        as_json,
    )


def names(run: Path, file: str, as_json: bool) -> None:
    """Prints the name-swap gap."""
    from fedlm.measure.names import NameSet, name_swap, read_names
    from fedlm.training.evaluate import continuation_scorer

    chosen = NameSet() if file == GIVEN else read_names(Path(file))
    found = name_swap(chosen, continuation_scorer(_reader(run)))
    if as_json:
        typer.echo(to_json(found.to_dict()))
        return
    count = f"{found.raw.count} couples of names in {len(chosen.templates)} sentences"
    typer.echo(f"change of log P(rest of the sentence) when the name is swapped, {count}")
    typer.echo("in nats (and per symbol), with the standard error over couples")
    typer.echo(f"absolute: {_with_error(found.raw, found.per_symbol)}")
    typer.echo(f"first name of a couple minus second: {_with_error(found.signed, found.signed_per_symbol)}")
    typer.echo(f"absolute, between names of one kind: {found.within.mean:+.3f} {_error(found.within, 3)}")


def _reader(run: Path) -> Any:
    """Returns a trainer whose model gives texts a probability."""
    from fedlm.api import load_run

    trainer = load_run(run).trainer
    if trainer.is_masked:
        raise ConfigError(f"The model of {run} predicts masked words; it gives a sentence no probability.")
    return trainer


def _one(gap: "Gap") -> str:
    return f"{gap.mean:+.3f} {_error(gap, 3)}" if gap.count else "none"


def _with_error(raw: "Gap", per_symbol: "Gap") -> str:
    each = f"{per_symbol.mean:+.4f} {_error(per_symbol, 4)}"
    return f"{raw.mean:+.3f} {_error(raw, 3)} ({each})"


def _error(gap: "Gap", digits: int) -> str:
    """Returns a standard error for printing; a single value has none."""
    return "± ?" if math.isnan(gap.standard_error) else f"± {gap.standard_error:.{digits}f}"


def _ends(interval: "Interval") -> str:
    return "no interval" if math.isnan(interval.low) else f"{interval.low:+.3f} to {interval.high:+.3f}"


def _print(found: Mapping[str, Any], title: str, describe: Callable[[Any], str], as_json: bool) -> None:
    if as_json:
        typer.echo(to_json({name: each.to_dict() for name, each in found.items()}))
        return
    typer.echo(title)
    for name, each in found.items():
        typer.echo(f"{name}: {describe(each)}")
