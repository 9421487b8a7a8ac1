"""What `fedlm evaluate --words` prints: the association of words by their vectors."""

from pathlib import Path

import typer

from fedlm.cli.bias import OCCUPATIONS
from fedlm.system.figures_json import to_json


def words(run: Path, file: str, as_json: bool) -> None:
    """Prints association tests of word vectors; words are counted in the vault in the run's folder, if it and its key are there."""
    from fedlm.api import load_run
    from fedlm.data.planted import official_shares
    from fedlm.measure.permutation import is_exact
    from fedlm.measure.word_vectors import (
        FEWEST_OCCURRENCES,
        WordAssociation,
        occupation_words,
        read_word_tests,
        word_association,
    )
    from fedlm.training.word_vectors import check_words, word_vectors

    tests = {OCCUPATIONS: occupation_words(official_shares())} if file == OCCUPATIONS else read_word_tests(Path(file))
    opened = load_run(run)
    check_words(opened.config)
    is_private = opened.config.privacy.on  # which words are frequent in the text is not in the ledger
    texts = None if is_private else _training_texts(run)
    vectors = word_vectors(opened.config, opened.weights, texts)
    found = {name: word_association(test, vectors) for name, test in tests.items()}
    if as_json:
        typer.echo(to_json({name: {**each.to_dict(), "counted": texts is not None} for name, each in found.items()}))
        return
    typer.echo("association of word vectors (WEAT): effect size d; null: the two sets of targets do not differ")
    if texts is None:
        why = "not read under differential privacy" if is_private else "not at hand"
        typer.echo(f"The training text is {why}: all words of the vocabulary count, however rare they are.")
    else:
        typer.echo(f"words that occur {FEWEST_OCCURRENCES} times and more in the training text count")

    def told(each: WordAssociation) -> str:
        left = "{} + {} target and {} + {} attribute words".format(*each.left)
        if each.effect_size is None:
            return f"none. {each.reason}"
        how = "exact" if is_exact(each.left[0] + each.left[1], each.left[0]) else f"random divisions, seed {each.seed}"
        return f"d {each.effect_size:+.2f}, two-sided p {each.p_value:.3g} (permutation, {how}), {left}"

    for name, each in found.items():
        typer.echo(f"{name}: {told(each)}")


def _training_texts(run: Path) -> list[str] | None:
    """Returns the training text of the vault in the run's folder; None if it or its key file is not there."""
    from fedlm.api.inputs import key_source
    from fedlm.vault.format import Part
    from scenarios.runner.metrics import texts_of

    vault = run / "vault.db"
    if not (vault.is_file() and vault.with_name(vault.name + ".key").is_file()):
        return None
    return [text for own in texts_of(vault, key_source(vault), Part.TRAIN).values() for text in own]
