"""The assumptions behind a run's privacy statement, in words."""

from fedlm.privacy.settings import PrivacySettings


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
