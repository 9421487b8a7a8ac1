"""`evaluate` and `generate`: what a run's model makes of text."""

from collections.abc import Iterator, Mapping
from typing import Any

from fedlm.api.inputs import PathLike
from fedlm.api.run import Run, opened
from fedlm.errors import ConfigError
from fedlm.plugins.trust import check_named, recogniser
from fedlm.rng import Purpose, stream


def evaluate(run: Run | PathLike, corpus: PathLike | None = None) -> dict[str, float]:
    """Returns figures of a run's model: `loss` (nats per token), `accuracy`, `perplexity`, `bits_per_char`, `tokens`.

    Args:
      run: a run or its folder.
      corpus: text to evaluate on, scrubbed as the run's was; by default the run's own held-out figures are returned.

    Raises:
      ConfigError: the run's own figures are private, see `load_run`.
      CorpusError: the corpus is missing or malformed.

    >>> sorted(evaluate("first"))
    ['accuracy', 'bits_per_char', 'loss', 'perplexity', 'tokens']
    >>> evaluate("first", "synthetic(clients=2, messages=3, seed=9)")["tokens"] > 0
    True
    """
    run = opened(run)
    if corpus is None:
        return run.held_out
    from fedlm.data.corpus import open_corpus
    from fedlm.measure.text import summary
    from fedlm.scrub.engine import Scrubber
    from fedlm.text.unknown import unknown_characters, warn_of_unknown
    from fedlm.types import TextMetrics

    check_named(recogniser(run.config.scrub), run.path)
    scrubber = Scrubber(run.config.scrub)
    unknown = characters = 0

    def texts() -> Iterator[list[str]]:
        nonlocal unknown, characters
        for document in open_corpus(str(corpus)):
            if not document.text.strip():  # as a vault, without blank ones
                continue
            text = scrubber.scrub(document.text).text
            unknown, characters = unknown + unknown_characters([text], run.trainer.vocab), characters + len(text)
            yield [text]

    figures = summary(sum(run.trainer.evaluate_each(None, texts()), TextMetrics()))
    warn_of_unknown(unknown, characters, run.config.vocabulary)
    return figures


def generate(
    run: Run | PathLike, prompt: str = "", length: int = 400, temperature: float = 0.8, seed: int = 0, **sampling: float
) -> str:
    """Returns the prompt and the text with which a run's model continues it; placeholders are written as <PERSON>.

    Args:
      run: a run or its folder.
      prompt: the beginning.
      length: symbols at most.
      temperature: 0 takes the most likely symbol.
      seed: of the sampling; the same seed gives the same text.
      sampling: `top_k` (0 keeps all symbols) and `top_p` (1 keeps all), see `fedlm.training.generate.probabilities`.

    Raises:
      ConfigError: the model predicts masked words and cannot continue a text, or an option is out of range.

    >>> generate("first", "hello", length=3, temperature=0).startswith("hello")
    True
    """
    options = {"length": length, "temperature": temperature, **sampling}
    return prompt + "".join(continuation(opened(run), prompt, seed, options))


def continuation(run: Run, prompt: str, seed: int, options: Mapping[str, Any]) -> Iterator[str]:
    """Yields what `generate` adds to the prompt, symbol by symbol."""
    from fedlm.scrub.kinds import readable
    from fedlm.training.generate import check_sampling
    from fedlm.training.generate import generate as symbols

    check_sampling(**options)
    trainer, rng = _continuing(run), stream(seed, Purpose.GENERATION)
    yield from map(readable, symbols(trainer.next_logits, trainer.vocab, prompt, rng, **options))


def suggestions(run: Run, prompt: str, count: int) -> list[tuple[str, float]]:
    """Returns the `count` most likely next words with their probabilities."""
    from fedlm.scrub.kinds import readable
    from fedlm.training.generate import suggest

    trainer = _continuing(run)
    likely = suggest(trainer.next_logits, trainer.vocab, prompt, count)
    return [(readable(word), probability) for word, probability in likely]


def _continuing(run: Run) -> Any:
    """Returns a run's trainer, whose model can continue a text."""
    if run.trainer.is_masked:
        raise ConfigError(f"The model of {run.path} predicts masked words; it cannot continue a text.")
    return run.trainer
