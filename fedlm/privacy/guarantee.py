"""What has to be true for a run's privacy statement to hold, in words."""

from fedlm.privacy.settings import PrivacySettings


def assumptions(settings: PrivacySettings) -> list[str]:
    """Returns the assumptions, and warnings about the settings."""
    lines = [
        "nodes run this code; the operating system's random numbers cannot be predicted",
        "settings, vocabulary and split were not chosen by looking at the clients' text",
        *settings.traits.assumptions,
    ]
    if settings.traits.counts_population:
        lines.append(f"the public population of {settings.population:,.0f} clients was not counted from the data")
    if settings.simulated:
        lines.append(
            f"SIMULATED: cohorts of {settings.cohort_size} stand for cohorts of {settings.noise_cohort_size}; the "
            "noise and the statement are those of that larger federation, and not of the clients of this run"
        )
    if settings.on and settings.delta >= 1 / settings.population:
        lines.append(f"WARNING: delta {settings.delta:g} is not below 1 / population")
    return lines
