"""What a run's privacy statement covers, and its assumptions, in words."""

from collections.abc import Mapping
from typing import Any

from fedlm.data.corpus import is_of_public_text
from fedlm.errors import ConfigError
from fedlm.privacy.settings import PrivacySettings


def covers(settings: PrivacySettings) -> str:
    """Returns for whom epsilon holds, in a few words that stand beside every epsilon."""
    who = "parts of a partition" if settings.partition else "clients"
    return f"simulated {who}" if settings.simulated else who


def epsilon_note(line: Mapping[str, Any]) -> str:
    """Returns a round's epsilon for the terminal, with those for whom it holds.

    >>> epsilon_note({"epsilon": 1.23456, "covers": "simulated clients"})
    'epsilon 1.235 for simulated clients'
    """
    epsilon = "unbounded" if line["epsilon"] is None else f"{line['epsilon']:.4g}"
    return f"epsilon {epsilon} for {line.get('covers', 'clients')}"


def coverage(settings: PrivacySettings) -> list[str]:
    """Returns for whom the statement holds, in sentences."""
    kind = "simulated: a larger federation, not the clients of this run" if settings.simulated else "real"
    lines = [f"{covers(settings)} of the run's vault, or of the vaults of a deployment's nodes ({kind})"]
    if settings.partition:
        lines.append(
            f"a client is a part of the corpus by partition={settings.partition}, not a person: the text of one person may be "
            "in many parts, and the statement then does not bound what is learned about that person"
        )
    if settings.max_clients:
        lines.append(
            f"max_clients={settings.max_clients} chose the clients of the vault from a public corpus; the statement is about "
            "adding or removing a client of the vault, not of the corpus"
        )
    return lines


def check_selection(
    settings: PrivacySettings, about: Mapping[str, Any], *, has_private_vocabulary: bool = False
) -> None:
    """Refuses a vault whose clients were selected by comparing them with each other, for a statement about these clients.

    Under max_clients, adding one client to the corpus removes another from the vault: neighbours would differ in two clients.

    Args:
      settings: of the run. A simulated cohort, or a run without a guarantee, states nothing about the vault's clients.
      about: what the vault's index says, or will say: `max_clients`, and whether all text is `public`.
      has_private_vocabulary: whether a vocabulary with a guarantee of its own is learned.

    Raises:
      ConfigError: private text was selected by max_clients.
    """
    states = settings.on and settings.noise_multiplier > 0 and not settings.simulated
    if settings.reproducible or not (states or has_private_vocabulary):
        return
    if about.get("max_clients") and not is_of_public_text(about):
        raise ConfigError(
            f"Under differential privacy, max_clients={about['max_clients']} would let one client's presence decide about "
            "another's: prepare a vault of all clients, without max_clients, and lower sampling_rate instead."
        )


def assumptions(settings: PrivacySettings) -> list[str]:
    """Returns the assumptions of the statement, and warnings about the settings."""
    lines = [
        "nodes run this code, and the operating system's random numbers are unpredictable",
        "settings, vocabulary and split were chosen without looking at the clients' text",
        *settings.traits.assumptions,
    ]
    if settings.traits.counts_population:
        lines.append(f"the public population of {settings.population:,.0f} clients was not counted from the data")
    if settings.simulated:
        lines.append(
            f"SIMULATED: cohorts of {settings.cohort_size} represent cohorts of {settings.noise_cohort_size}; noise and "
            "statement are those of that larger federation, not of the clients of this run"
        )
    if settings.on and settings.delta >= 1 / settings.population:
        lines.append(f"WARNING: delta {settings.delta:g} is not below 1 / population")
    return lines
