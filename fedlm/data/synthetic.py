"""Generated chat and mail messages with planted personal data at known positions; no real person is affected if it leaks.

Names, addresses and numbers come from the package Faker, in the forms of several countries; checksums are valid.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from fedlm.errors import check_number
from fedlm.rng import Purpose, stream
from fedlm.types import Document

_LOCALES = ("en_US", "en_GB", "en_IN", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "tr_TR")
_UNTIL = datetime(2026, 1, 1, tzinfo=UTC)  # otherwise Faker's dates end today, and messages differ from day to day

# {KIND} is replaced by a planted value, [a|b] by one of the alternatives.
_CHAT = (
    "[hey|hi|morning] {PERSON}, are you still [coming|up for dinner|around] on {DATE}?",
    "can you send it to {EMAIL}? [thanks|cheers|ta]",
    "my new number is {PHONE}, [text me|call me after six|the old one is dead]",
    "we moved! it's {ADDRESS} now, [come by|bring wine|the garden is huge]",
    "{PERSON} said the train from {LOCATION} is [late again|cancelled|packed]",
    "lol no idea, [ask|try|ping] {PERSON}",
    "that was [the best|a terrible|such a long] day, going to bed now",
    "did you see the match? [what a goal|we were robbed|never again]",
    "the router is at {IP_ADDRESS} if you want to [look|check the logs]",
    "[ok|sure|fine], see you at [eight|noon|the usual place]",
)
_MAIL = (
    "Dear {PERSON},\n\nthank you for your [letter|order|patience]. We will ship to {ADDRESS} [next week|on Monday].\n\n"
    "Kind regards,\n{PERSON}\n{ORGANISATION}\n{PHONE}",
    "Hello {PERSON},\n\nplease transfer the [rent|deposit|balance] to {IBAN} by {DATE}.\n\nBest,\n{PERSON}",
    "Hi team,\n\nthe card ending the trial is {CARD}, [do not share it|please update the account].\n\n{PERSON}",
    "From: {EMAIL}\nTo: {EMAIL}\nSubject: [Meeting|Invoice|Question]\n\nCould we [meet|talk] in {LOCATION} on {DATE}?\n\n{PERSON}",
    "Dear [Sir|Madam],\n\nI wish to [complain|ask] about the [noise|invoice|delay]. Nothing has happened for weeks.\n\n{PERSON}\n{ADDRESS}",
    "Notes of the meeting: the budget stands, the [report|plan|draft] is due, and nobody wants to [write|read|present] it.",
)


@dataclass(frozen=True)
class Planted:
    """A generated message and the true spans (start, end, kind) of what was planted in it."""

    document: Document
    spans: list[tuple[int, int, str]] = field(default_factory=list)


def read_synthetic(*, clients: int = 50, messages: int = 40, mail: float = 0.3, seed: int = 0) -> Iterator[Document]:
    """Yields the messages of `synthetic_messages` without the spans."""
    found = synthetic_messages(clients=clients, messages=messages, mail=mail, seed=seed)
    return (planted.document for planted in found)


def synthetic_messages(*, clients: int = 50, messages: int = 40, mail: float = 0.3, seed: int = 0) -> Iterator[Planted]:
    """Yields messages client by client. The same options and the same version of Faker give the same messages.

    Args:
      clients: the number of clients.
      messages: mean number of messages per person; it varies by a log-normal factor.
      mail: share of mails among the messages.
      seed: of all draws.

    Raises:
      ConfigError: an option is out of range.
    """
    check_number("clients of synthetic", clients, ge=1)
    check_number("messages of synthetic", messages, ge=1)
    check_number("mail of synthetic", mail, ge=0, le=1)
    for client in range(clients):
        rng = stream(seed, Purpose.SYNTHETIC_TEXT, 0, client)
        fake, locale = _faker(rng)
        count = max(1, round(messages * float(rng.lognormal(-0.32, 0.8))))
        for _ in range(count):
            template = _MAIL[rng.integers(len(_MAIL))] if rng.random() < mail else _CHAT[rng.integers(len(_CHAT))]
            text, spans = _fill(template, fake, rng)
            yield Planted(Document(f"user-{client:06d}", text, {"country": locale[-2:]}), spans)


def _faker(rng: np.random.Generator) -> tuple[Any, str]:
    """Returns a generator of one country's names and numbers, and its locale."""
    from faker import Faker

    locale = _LOCALES[rng.integers(len(_LOCALES))]
    fake = Faker(locale)
    if locale == "it_IT":  # whose cities come from a set, in an order that differs from process to process
        places = next(p for p in fake.get_providers() if hasattr(p, "cities"))
        places.cities = sorted(places.cities)
    fake.seed_instance(int(rng.integers(2**31)))
    return fake, locale


def _value(kind: str, fake: Any) -> str:
    """Returns a value of a kind."""
    makers = {
        "PERSON": lambda: fake.name() if fake.random_int(0, 1) else fake.first_name(),
        "EMAIL": fake.email,
        "PHONE": fake.phone_number,
        "ADDRESS": lambda: fake.street_address().strip().replace("\n", ", "),
        "LOCATION": fake.city,
        "DATE": lambda: fake.date(fake.random_element(("%d %B %Y", "%Y-%m-%d", "%d/%m/%Y", "%B %d")), _UNTIL),
        "IBAN": fake.iban,
        "CARD": fake.credit_card_number,
        "IP_ADDRESS": fake.ipv4,
        "ORGANISATION": fake.company,
    }
    return str(makers[kind]())


def _fill(template: str, fake: Any, rng: np.random.Generator) -> tuple[str, list[tuple[int, int, str]]]:
    """Returns a template's text with values and choices filled in, and the spans of the values."""
    text, spans, rest = "", [], template
    while rest:
        cut = min((i for i in (rest.find("["), rest.find("{")) if i >= 0), default=len(rest))
        text, rest = text + rest[:cut], rest[cut:]
        if rest.startswith("["):
            inside, _, rest = rest[1:].partition("]")
            choices = inside.split("|")
            text += choices[rng.integers(len(choices))]
        elif rest:
            kind, _, rest = rest[1:].partition("}")
            value = _value(kind, fake)
            spans.append((len(text), len(text) + len(value), kind))
            text += value
    return text, spans
