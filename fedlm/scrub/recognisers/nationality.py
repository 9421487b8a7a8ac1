"""Nationalities, religions and political parties: Presidio's NRP, special categories under article 9 of the GDPR."""

import re

from presidio_analyzer import EntityRecognizer

from fedlm.scrub.letters import CAPITAL
from fedlm.scrub.patterns import Rules, rule

RUNS_MODEL = False
HITS = (
    ("a French citizen", "French"),
    ("a french citizen", "french"),
)
NEAR_MISSES = (
    "to polish shoes",
    "french fries",
)

_NATIONS = (
    "Afghan Albanian Algerian American Andorran Angolan Argentin(?:e|ian) Armenian Australian Austrian Azerbaijani Bahamian "
    "Bahraini Bangladeshi Barbadian Belarus(?:ian|sian) Belgian Belizean Beninese Bhutanese Bolivian Bosnian Botswanan "
    "Brazilian British Bulgarian Burmese Burundian Cambodian Cameroonian Canadian Chadian Chilean Chinese Colombian Congolese "
    "Croatian? Cuban Cypriot Czech Danish Dominican Dutch Ecuador(?:i)?an Egyptian English Eritrean Estonian Ethiopian Fijian "
    "Filipino Finnish French Gabonese Gambian Georgian German Ghanaian Greek Grenadian Guatemalan Guinean Guyanese Haitian "
    "Honduran Hungarian Icelandic Indian Indonesian Iranian Iraqi Irish Israeli Italian Ivorian Jamaican Japanese Jordanian "
    "Kazakh Kenyan Korean Kosovar Kurdish Kuwaiti Kyrgyz Laotian Latvian Lebanese Liberian Libyan Lithuanian Macedonian "
    "Malagasy Malawian Malaysian Maldivian Malian Maltese Mauritanian Mauritian Mexican Moldovan Mongolian Montenegrin Moroccan "
    "Mozambican Namibian Nepal(?:ese|i) Nicaraguan Nigerian Norwegian Omani Pakistani Palestinian Panamanian Paraguayan "
    "Peruvian Polish Portuguese Qatari Romanian Russian Rwandan Salvadoran Samoan Saudi Scottish Senegalese Serbian? "
    "Singaporean Slovak(?:ian)? Sloven(?:e|ian) Somali Spanish Sudanese Surinamese Swedish Swiss Syrian Taiwanese Tajik "
    "Tanzanian Thai Tibetan Togolese Tongan Trinidadian Tunisian Turkish Turkmen Ugandan Ukrainian Uruguayan Uzbek "
    "Venezuelan Vietnamese Welsh Yemeni Zambian Zimbabwean European African Asian Arab Hispanic Latino Latina Caucasian"
)
_BELIEFS = (
    "Christian Catholic Protestant Orthodox Lutheran Methodist Baptist Anglican Presbyterian Mormon Evangelical Muslim Islamic "
    "Sunni Shia Shiite Jewish Hindu Buddhist Sikh Jain Taoist Atheist Republican Democrat(?:ic)? Conservative Labour Tory "
    "Communist Socialist Liberal"
)
# What may follow if a person is meant; beliefs are also ordinary words, or parts of other names.
_PEOPLE = r"(?:[ ](?:national|citizen|immigrant|refugee|voter|party|senator|church|community|family|man|woman|people))?"
_OF_A_NATION = re.compile(r"(?:national|citizen|immigrant|refugee)", re.IGNORECASE)


def build() -> EntityRecognizer:
    """Returns the recogniser."""
    nations, beliefs = "|".join(_NATIONS.split()), "|".join(_BELIEFS.split())
    return Rules(
        "nationality",
        (
            rule("NRP", rf"\b(?P<it>(?:{nations})s?)\b(?![-'’]?[{CAPITAL}])", 0.6),
            rule("NRP", rf"\b(?P<it>(?:{beliefs})s?)\b{_PEOPLE}", 0.55),
            rule(
                "NRP",
                rf"\b(?P<it>{nations})[ ]{_OF_A_NATION.pattern}s?\b",
                0.6,
                flags=re.IGNORECASE,
                screen=_OF_A_NATION,
            ),
        ),
    )
