"""Whether a worker process can load the code and the preset that a configuration names.

The process of a command asks one that is started as a worker is, before it seals, writes or trains anything: what only the
command's own process finds, such as a module made in a notebook, would otherwise be missed after the text was sealed.
"""

import json
import os
import sys
import traceback
from typing import Any

from fedlm.config import PRESET_VOCABULARY, RunConfig
from fedlm.errors import ConfigError, FedLMError, error_of_code
from fedlm.models.catalog import is_pretrained
from fedlm.plugins.path import passed_on
from fedlm.plugins.places import check_places, places_of
from fedlm.plugins.trust import own_code
from fedlm.privacy.vocabulary import NAME as PRIVATE_VOCABULARY
from fedlm.system.memory import forbid_core_dumps
from fedlm.system.processes import DEBUG, child_environment, end, last_line, module_command, start
from fedlm.system.shortage import telling_shortage
from fedlm.vault.keys import KeySource

_TAKEN = set[object]()
"""What a worker has loaded once for this process."""
_SYMBOLS = 128  # of a vocabulary that is not known yet: a model must build with any number
_CODES = (ConfigError.exit_code, 3, FedLMError.exit_code)  # of our own errors


def check_in_worker(config: RunConfig, provider: str | None = None) -> None:
    """Checks that a worker can load what a run names: models, presets, algorithms and so on, and the key provider.

    A configuration that names nothing outside fedlm costs nothing.

    Raises:
      ConfigError: it cannot, with its own sentence.
    """
    values = config.model_dump()
    named = {name: key for name, key in own_code(values).items() if ":" in name}  # others are of the server only
    if provider and ":" in provider and "(" not in provider:
        named[provider] = "provider"
    if not named and not is_pretrained(config.spec("model").name):
        return
    keys = sorted({"model", "vocabulary", "seq_len", *named.values()} - {"provider"})
    question = (passed_on(), provider, *((key, values[key]) for key in keys))
    if question not in _TAKEN:
        asked = {"settings": config.to_settings(), "provider": provider, "places": places_of(named)}
        _ask(json.dumps(asked).encode())
        _TAKEN.add(question)


def _ask(question: bytes) -> None:
    process = start(module_command("clients.probe"), child_environment(), piped=True, errors=True)
    try:
        _, said = process.communicate(question)
    finally:
        end(process, 0.0)
    if os.environ.get(DEBUG):
        sys.stderr.write(said.decode("utf-8", "replace"))
    if code := process.returncode:
        why = (
            last_line(said.decode("utf-8", "replace"))
            or f"it ended with {'signal' if code < 0 else 'code'} {abs(code)}."
        )
        sentence = f"A worker process cannot load what the configuration names: {why}"
        raise error_of_code(code if code in _CODES else ConfigError.exit_code, sentence)


def _load(asked: dict[str, Any]) -> None:
    """Loads what a worker of the run will load.

    Raises:
      FedLMError: something is missing, or does not load.
    """
    check_places(asked["places"])
    config = RunConfig.checked(json.loads(asked["settings"]))  # loads algorithm, aggregation and mechanism
    if asked["provider"]:
        KeySource(provider=asked["provider"]).open()
    name = config.spec("model").name
    if is_pretrained(name):
        config.vocab  # noqa: B018 - opens the preset
    elif ":" in name:
        _build(config)


def _build(config: RunConfig) -> None:
    from fedlm.training.tensorflow import load_tensorflow

    load_tensorflow()
    from fedlm.models.registry import build_model

    is_known = config.vocabulary != PRESET_VOCABULARY and config.spec("vocabulary").name != PRIVATE_VOCABULARY
    build_model(config.model, config.vocab.size if is_known else _SYMBOLS, config.seq_len, config.seed)


def main() -> None:
    """Answers one question from stdin: exit code 0, or an error's code and its sentence on stderr."""
    forbid_core_dumps()
    code = 0
    try:
        with telling_shortage():
            _load(json.load(sys.stdin))
    except FedLMError as error:
        if os.environ.get(DEBUG):
            traceback.print_exception(error)
        sys.stderr.write(f"{error}\n")
        code = error.exit_code
    sys.stderr.flush()
    os._exit(code)  # an orderly exit of TensorFlow takes more than a second


if __name__ == "__main__":
    main()
