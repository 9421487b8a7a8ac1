"""What a guarantee says, in words: of which data sets, against whom, under which assumptions."""

from fedlm.privacy.settings import PrivacySettings


def neighbours(settings: PrivacySettings) -> str:
    """Returns which two data sets may not be told apart."""
    if settings.mechanism.name == "local":
        return "replacing all text of any one client (not for whether it takes part)"
    return "adding or removing any one client with all its text"


def adversary(settings: PrivacySettings) -> str:
    """Returns against whom the statement holds."""
    if settings.mechanism.name == "local":
        return "the server and whoever receives the models"
    return "whoever receives the models of all rounds (not the server, which sees the sums and knows the cohorts)"


def assumptions(settings: PrivacySettings) -> list[str]:
    """Returns what has to be true for the statement to hold."""
    lines = [
        "nodes run this code; the operating system's random numbers cannot be predicted",
        "settings, vocabulary and split were not chosen by looking at the clients' text",
    ]
    if settings.mechanism.name == "local":
        lines.append("the server asks each client once a round, and does not change what nodes send")
    else:
        lines.append("the cohort key stays with the server; every client is drawn by itself with the sampling rate")
        lines.append(f"the public population of {settings.population:,.0f} clients was not counted from the data")
    if settings.simulated:
        lines.append(
            f"SIMULATED: cohorts of {settings.cohort_size} stand for cohorts of {settings.noise_cohort_size}; the "
            "noise and the statement are those of that larger federation, and not of the clients of this run"
        )
    if settings.on and settings.delta >= 1 / settings.population:
        lines.append(f"WARNING: delta {settings.delta:g} is not below 1 / population")
    return lines
