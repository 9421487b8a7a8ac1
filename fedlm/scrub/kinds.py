"""Kinds of personal data, and the placeholder of each: one private-use character, one symbol of the vocabulary.

The order is append-only: a kind's index is its position in the vocabulary of every model that was ever trained.
"""

import re
from enum import IntEnum

from fedlm.text.vocabulary import PLACEHOLDER_BASE, PLACEHOLDERS


class Kind(IntEnum):
    """A kind of personal data."""

    PERSON = 0
    ADDRESS = 1
    LOCATION = 2
    POSTCODE = 3
    ORGANISATION = 4
    PHONE = 5
    EMAIL = 6
    URL = 7
    USERNAME = 8
    IP_ADDRESS = 9
    MAC_ADDRESS = 10
    CARD = 11
    IBAN = 12
    BANK_ACCOUNT = 13
    NATIONAL_ID = 14
    TAX_ID = 15
    DRIVING_LICENCE = 16
    PASSPORT = 17
    VEHICLE_PLATE = 18
    DATE = 19
    AGE = 20
    TITLE = 21
    COORDINATES = 22
    CRYPTO_WALLET = 23
    SECRET = 24
    MEDICAL_ID = 25
    NATIONALITY = 26  # with religion and political group: Presidio's NRP

    @property
    def placeholder(self) -> str:
        """The character that replaces a finding of this kind."""
        return chr(PLACEHOLDER_BASE + self.value)


_PRIVATE_USE = dict.fromkeys(range(PLACEHOLDER_BASE, 0xF8FF + 1))


def strip_placeholders(text: str) -> str:
    """Returns `text` without private-use characters, so that input cannot forge a placeholder."""
    return text.translate(_PRIVATE_USE)


def readable(text: str) -> str:
    """Returns `text` with placeholders written as <PERSON>, for display.

    >>> readable("Dear \\ue000,")
    'Dear <PERSON>,'
    """
    return text.translate({PLACEHOLDER_BASE + k.value: f"<{k.name}>" for k in Kind})


# What `readable` writes, so that scrubbed text can be scrubbed again.
WRITTEN = re.compile(rf"<(?:{'|'.join(kind.name for kind in Kind)})>")

assert len(Kind) <= PLACEHOLDERS

_OF_KIND = {
    Kind.PERSON: "PERSON GIVEN_NAME SURNAME",
    Kind.ADDRESS: "STREET_ADDRESS ADDRESS",
    Kind.LOCATION: "LOCATION",
    Kind.POSTCODE: "ZIP_CODE UK_POSTCODE CA_POSTAL_CODE DE_PLZ",
    Kind.ORGANISATION: "ORGANIZATION",
    Kind.PHONE: "PHONE_NUMBER ZA_MOBILE_NUMBER ZA_TELEPHONE_NUMBER",
    Kind.EMAIL: "EMAIL_ADDRESS",
    Kind.URL: "URL DOMAIN_NAME",
    Kind.USERNAME: "USERNAME",
    Kind.IP_ADDRESS: "IP_ADDRESS",
    Kind.MAC_ADDRESS: "MAC_ADDRESS",
    Kind.CARD: "CREDIT_CARD",
    Kind.IBAN: "IBAN_CODE",
    Kind.BANK_ACCOUNT: "US_BANK_NUMBER BANK_ACCOUNT ABA_ROUTING_NUMBER",
    Kind.NATIONAL_ID: "US_SSN GOVERNMENT_ID UK_NINO CA_SIN DE_ID_CARD DE_SOCIAL_SECURITY ES_NIE ES_NIF FI_PERSONAL_IDENTITY_CODE "
    "IN_AADHAAR IN_VOTER IT_FISCAL_CODE IT_IDENTITY_CARD KR_FRN KR_RRN NG_NIN PH_UMID PL_PESEL SE_PERSONNUMMER SG_NRIC_FIN TH_TNIN "
    "TR_NATIONAL_ID ZA_ID_NUMBER ZA_TRAFFIC_REGISTER_NUMBER UUID",
    Kind.TAX_ID: "TAX_ID US_ITIN AU_ABN AU_ACN AU_TFN DE_TAX_ID DE_TAX_NUMBER DE_VAT_ID DE_HANDELSREGISTER IN_GSTIN IN_PAN IT_VAT_CODE "
    "KR_BRN PH_TIN SE_ORGANISATIONSNUMMER SG_UEN US_PROVIDER_TAX_ID ZA_COMPANY_REGISTRATION ZA_INCOME_TAX_NUMBER ZA_VAT_NUMBER",
    Kind.DRIVING_LICENCE: "US_DRIVER_LICENSE DRIVERS_LICENSE DE_FUEHRERSCHEIN IT_DRIVER_LICENSE KR_DRIVER_LICENSE UK_DRIVING_LICENCE "
    "ZA_DRIVER_LICENSE",
    Kind.PASSPORT: "US_PASSPORT PASSPORT DE_PASSPORT ES_PASSPORT IN_PASSPORT IT_PASSPORT KR_PASSPORT PH_PASSPORT UK_PASSPORT ZA_PASSPORT",
    Kind.VEHICLE_PLATE: "UK_VEHICLE_REGISTRATION DE_KFZ IN_VEHICLE_REGISTRATION NG_VEHICLE_REGISTRATION TR_LICENSE_PLATE ZA_LICENSE_PLATE",
    Kind.DATE: "DATE_TIME",
    Kind.AGE: "AGE",
    Kind.TITLE: "TITLE",
    Kind.COORDINATES: "COORDINATES",
    Kind.CRYPTO_WALLET: "CRYPTO",
    Kind.SECRET: "SECRET",
    Kind.MEDICAL_ID: "UK_NHS MEDICAL_LICENSE AU_MEDICARE DE_BSNR DE_HEALTH_INSURANCE DE_LANR US_MBI US_NPI US_CLAIM_NUMBER "
    "US_HEALTH_INSURANCE_MEMBER_ID US_PRESCRIPTION_NUMBER US_PRIOR_AUTHORIZATION_NUMBER US_REFERRAL_NUMBER",
    Kind.NATIONALITY: "NRP",
}
KIND_OF_ENTITY = {entity: kind for kind, entities in _OF_KIND.items() for entity in entities.split()}
KIND_OF_ENTITY |= {kind.name: kind for kind in Kind}
"""The kind of each entity. A recogniser names what it finds as Presidio does, or by the kind's own name."""

# Entities whose form or checksum is strong. A checksum of one digit lets one random number in ten pass, yet Presidio gives
# every checksum the score 1.0: a telephone or card number in its usual form is more likely than the identity number of one
# of twenty countries.
_CERTAIN = (
    "CREDIT_CARD IBAN_CODE EMAIL_ADDRESS US_SSN CRYPTO UK_NINO ES_NIE ES_NIF "
    "IT_FISCAL_CODE FI_PERSONAL_IDENTITY_CODE IN_GSTIN UK_DRIVING_LICENCE SG_NRIC_FIN DE_SOCIAL_SECURITY DE_HEALTH_INSURANCE"
)
CERTAIN = frozenset(_CERTAIN.split())
_WEAK = frozenset(
    {Kind.NATIONAL_ID, Kind.TAX_ID, Kind.MEDICAL_ID, Kind.PASSPORT, Kind.DRIVING_LICENCE}
    | {Kind.VEHICLE_PLATE, Kind.BANK_ACCOUNT}
)
HIGHEST_UNCERTAIN = (
    0.62  # below a telephone number in a written form (0.65), above one that is only valid somewhere (0.5)
)


def trusted(entity: str, score: float) -> float:
    """Returns a score of Presidio's own recognisers, lowered where the checksum is weak."""
    kind = KIND_OF_ENTITY[entity]
    if kind in (Kind.IP_ADDRESS, Kind.MAC_ADDRESS) and score >= 0.6:
        return 0.95  # the form is certain, but parts of it look like telephone numbers
    return min(score, HIGHEST_UNCERTAIN) if kind in _WEAK and entity not in CERTAIN else score
