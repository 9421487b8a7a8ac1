"""Office text, e-mails and chat with planted names and their spans, to fit the names model and to score it.

    python -m benchmarks.office_text OUT.jsonl [--half a|b] [--texts 1500] [--seed 0]

The halves `a` and `b` share no sentence and, English names apart, no country's names: a model fitted on one is scored on the
other. In a pattern, {1} is a person's full name, {1f} the given name, {1l} the surname; a number stands for one person.
"""

import argparse
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

LOCALES = {
    "a": ("en_US", "en_GB", "de_DE", "es_MX", "it_IT", "pl_PL", "no_NO", "en_IN", "pt_BR", "cs_CZ"),
    "b": ("en_US", "en_CA", "en_AU", "fr_FR", "es_ES", "nl_NL", "sv_SE", "tr_TR", "fi_FI", "en_NZ"),
}
LABELS = {"ORG": "ORGANIZATION", "CITY": "LOCATION", "COUNTRY": "LOCATION", "STREET": "STREET_ADDRESS"}
PATTERNS = {
    "a": r"""
{1} has been with {ORG} since {DATE} and now leads the office in {CITY}.
Please update the delivery address of {1}: {STREET}, {CITY}.
I would like to speak to {1f} about the invoice from {ORG}.
The meeting with {1} and {2} is moved to Thursday, same room.
Our customer {1l} called twice today, his number is {PHONE}.
Could you ask {1f} whether the contract with {ORG} was signed?
{1}, {2} and {3} will present the figures for {COUNTRY}.
We got a complaint from Mrs. {1l} in {CITY} about the noise.
My name is {1} and I lost my card, the last digits were on the letter.
{1f} is on leave until Monday, so {2f} takes the calls.
hi, this is {1f}, is the flat in {CITY} still free?
Mr {1l} was born in {CITY}, {COUNTRY}, and works as a nurse.
According to {1}, who runs {ORG}, the plant will stay open.
Can the transfer to {1} be stopped? It went to the wrong account.
Send the parcel to {1}, {STREET}, {CITY}, and the bill to {ORG}.
Dr. {1l} saw the patient at nine and asked for a second scan.
The lease between {1} and {ORG} ends in June.
Interviewed on Tuesday: {1} (Berlin office), {2} (by phone).
We flew from {CITY} to {CITY} with {1f} and the kids.
The witness {1} lives at {STREET} and was at home that night.
Thanks to {1f} for the flowers, and to {2f} for the cake!
Is {1} still the owner of {ORG}? The register says {2}.
Account holder: {1}\nAddress: {STREET}, {CITY}\nPhone: {PHONE}
Name: {1}\nEmployer: {ORG}\nCountry: {COUNTRY}
When I was in {COUNTRY}, I met {1f}, a friend of {2f} {2l}.
Hi {1f},\n\ncan you send me the slides? {2f} needs them for the talk in {CITY}.\n\nThanks,\n{3f}
Dear {1f},\n\nI spoke with {2} at {ORG} this morning. {2f} will call you.\n\nBest regards,\n{3}\n{ORG}
{1f},\n\nI forwarded it to {2f} and {3f}; let me know what {2f} says.\n\n{4f}
All,\n\nplease welcome {1}, who joins us from {ORG}. {1f} will sit next to {2f}.\n\nRegards,\n{3}
Hello {1f},\nas discussed with {2l}, we need the deal sheet by Friday. Please copy {3} on it.\n{4}
From: {1}\nTo: {2}; {3}\nSubject: Budget\n\n{2f}, {3f} - see below. I think {4f} is right about this.\n\n{1f}
>{1f} wrote:\n> I will be in {CITY} next week, can we meet?\n\nYes, bring {2f} along.
{1f} - call me when you get this. {2f} and I have a question on {ORG}.
fyi, {1f} told me that {2f} is leaving {ORG} next month
did {1f} and {2f} make it to {CITY}? tell {3f} i said hi
Attendees: {1}, {2}, {3}\nAbsent: {4}
The report shows that costs rose in the second quarter, while the number of cases fell.
We have to decide whether the system should be replaced before the end of the year.
Nobody in the Finance Department has answered yet. The Board wants a reply by Monday.
Please find attached the Annual Report and the Terms and Conditions.
Good Morning everyone, the Printer on the Second Floor is out of order again.
How do I change the limit of my Credit Card online? The App shows an Error.
What time does the Branch close on Saturday? I need Cash before the Holiday.
The Committee discussed the Budget, the Tax Reform and the new Schools Bill.
""",
    "b": r"""
As promised, {1} of {ORG} will give the keynote in {CITY}.
The keys are with {1f}; she lives at {STREET}.
Has anybody heard from {1} since the party in {CITY}?
Your appointment with Dr. {1l} is confirmed for {DATE}.
{1l} v. {2l} was heard in {CITY} last spring.
We regret to inform you that {1} no longer works for {ORG}.
It was {1f} who found the mistake, not {2f}.
Ms {1l} asked that the statement be sent to {STREET}, {CITY}.
I bought the car from {1} in {CITY}, and he never sent the papers.
The authors, {1} and {2}, thank {3} for his comments.
Yesterday {1} scored twice against {CITY}.
Could you please correct the spelling of my name to {1}?
Who is {1}? I got a letter from him about my aunt {2f}.
{ORG} was founded by {1} in {CITY} and sold to {ORG} later.
Patient {1} reports pain; wife {2f} will collect the drugs.
The driver, {1}, {DATE}, {COUNTRY}, was not hurt.
Ask for {1f} at the desk, or ring {PHONE} and say {2} sent you.
Professor {1l} moved from {COUNTRY} to {COUNTRY} as a child.
I agree with {1f} that {ORG} should pay for it.
Next on the list: {1}, {2}, {3}.
First name: {1f}\nLast name: {1l}\nCity: {CITY}\nStreet: {STREET}
Beneficiary {1}, {CITY}, {COUNTRY}. Reference {2l}.
hey {1f}, {2f} says the gig in {CITY} is off
is {1f} coming or not?? {2f} has the tickets
my brother {1f} moved to {CITY} with his wife {2f}
Hey {1f},\n\nhow was {CITY}? {2f} showed me the pictures. Say hello to {3f}.\n\nLove,\n{4f}
{1f}:\n\nAttached is the draft that {2} and I prepared. If {3l} agrees, we can sign.\n\nThanks\n{4f}
Good afternoon Mr. {1l},\n\nyour order from {ORG} is ready. Please ask for {2f}.\n\nSincerely,\n{3}
Team,\n\n{1f} and {2f} will be out today. Please send anything urgent to {3}.\n\n{4f} {4l}
To: {1}\nCc: {2}, {3}\nFrom: {4}\nSubject: Re: visit\n\nThe people from {ORG} come on Friday. {2f}, can you pick them up?
-----Original Message-----\nFrom: {1l}, {1f}\nSent: Tuesday\nTo: {2l}, {2f}\n\n{2f}, I talked to {3f} in {CITY}. She wants to wait.\n\n{1f}
{1f} and {2f}, thank you both. I will tell {3} about it.
PS: greetings from {1f}, who is still in {COUNTRY} with {2f}.
The Minister said that nothing would change before the Summer Recess.
There was a Problem with the Delivery, and the Manager promised a Refund.
I have read the Privacy Policy and want all of my data deleted.
Open the Settings, choose Network, and press Reset. Then restart the Phone.
Can I pay with a Debit Card at the Gas Station? What is the daily Limit?
The weather was fine, the food was not, and the train came an hour late.
Happy Birthday and all the best for the New Year!
The Court of Appeal dismissed the claim, and the House passed the Bill.
""",
}


def texts(half: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Returns records of `text` and `spans` (start, end, label)."""
    patterns = [line.replace("\\n", "\n") for line in PATTERNS[half].strip().splitlines()]
    out = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        local, english = (_faker(name) for name in (LOCALES[half][rng.integers(len(LOCALES[half]))], "en_US"))
        for fake in (local, english):
            fake.seed_instance(int(rng.integers(2**31)))
        chosen = patterns[rng.integers(len(patterns))]
        flat = rng.random() < (0.7 if chosen[0].islower() else 0.05)  # chat is often in lower case
        text, spans = _fill(chosen, _Values(local, english))
        out.append({"text": text.lower() if flat and len(text.lower()) == len(text) else text, "spans": spans})
    return out


@lru_cache
def _faker(locale: str) -> Any:
    from faker import Faker

    return Faker(locale)


class _Values:
    """The values of one text: a person has the same name throughout."""

    def __init__(self, fake: Any, english: Any) -> None:
        self._fake, self._english, self._persons = fake, english, dict[str, tuple[str, str]]()

    def __call__(self, field: str) -> tuple[str, str]:
        """Returns label and value."""
        if field[0].isdigit():
            return "PERSON", self._person(field)
        fake = self._fake
        makers = {
            "ORG": fake.company,
            "CITY": fake.city,
            "COUNTRY": self._english.country,
            "STREET": lambda: fake.street_address().replace("\n", ", "),
            "PHONE": fake.phone_number,
            "DATE": lambda: self._english.date(pattern=fake.random_element(("%d %B %Y", "%Y-%m-%d", "%B %d"))),
        }
        return LABELS.get(field, {"PHONE": "PHONE_NUMBER", "DATE": "DATE_TIME"}.get(field, field)), str(makers[field]())

    def _person(self, field: str) -> str:
        person = self._persons.setdefault(field[0], (self._fake.first_name(), self._fake.last_name()))
        return {"f": person[0], "l": person[1]}.get(field[1:], " ".join(person))


def _fill(pattern: str, values: _Values) -> tuple[str, list[dict[str, Any]]]:
    text, spans = "", list[dict[str, Any]]()
    for place, part in enumerate(pattern.replace("}", "{").split("{")):  # text and fields take turns
        if place % 2 == 0:
            text += part
            continue
        label, value = values(part)
        spans.append({"start": len(text), "end": len(text) + len(value), "label": label})
        text += value
    return text, spans


def main() -> None:
    """Reads the arguments, writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--half", choices=sorted(PATTERNS), default="a")
    parser.add_argument("--texts", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    lines = [json.dumps(record, ensure_ascii=False) for record in texts(options.half, options.texts, options.seed)]
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
