"""Presidio's analyzer, assembled so that it downloads nothing: a blank tokenizer for context words, no spaCy model.

Presidio's own recognisers all look for digits or special characters, so they read only the stretches of a text that have
some. Our recognisers and the user's read all of it.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from fedlm.errors import ConfigError, PluginFailure
from fedlm.plugins.calls import load_module, loading, running, takes
from fedlm.scrub import recognisers
from fedlm.scrub.kinds import KIND_OF_ENTITY, trusted
from fedlm.scrub.names.windows import segments, stretches
from fedlm.scrub.profile import Profile
from fedlm.system.shortage import check_machine, telling_shortage, with_linear_algebra

# Presidio's recognisers that need no download and no server, and that find nothing in text without digits. Ours replace its
# recognisers for e-mail, URLs, telephone numbers and names. Those left out find nothing without a context word, and too
# much with one.
_OF_PRESIDIO = (
    "CreditCard Crypto Iban Ip MacAddress MedicalLicense Nhs UkNino UkPostcode UkDrivingLicence "
    "UkVehicleRegistration UkPassport UsBank UsItin UsLicense UsPassport UsSsn UsMbi UsNpi AbaRouting "
    "AuAbn AuAcn AuMedicare AuTfn CaSin DeHealthInsurance DeIdCard DeLanr DePassport DeSocialSecurity "
    "DeTaxId DeTaxNumber DeVatId EsNie EsNif EsPassport FiPersonalIdentityCode InAadhaar InGstin InPan "
    "InPassport InVehicleRegistration InVoter ItDriverLicense ItFiscalCode ItIdentityCard ItPassport "
    "ItVatCode KrBrn KrDriverLicense KrFrn KrPassport KrRrn NgNin NgVehicleRegistration PhPassport PhTin "
    "PhUmid PlPesel SeOrganisationsnummer SePersonnummer SgFin SgUen ThTnin TrLicensePlate TrNationalId "
    "ZaIdNumber ZaPassport ZaLicensePlate"
)

Result = tuple[int, int, str, float]
PATTERNS_BYTES, NAMES_BYTES = (
    370_000_000,
    690_000_000,
)  # of address space: measured, to load them and to scrub a short text


def our_recognisers() -> list[Any]:
    """Returns the modules of `recognisers/`, in the order of their names: each has `build` and `RUNS_MODEL`."""
    return [import_module(f"{recognisers.__name__}.{m.name}") for m in iter_modules(recognisers.__path__)]


class Analyzer:
    """Presidio's recognisers over stretches, and ours over whole texts.

    Args:
      profile: its scope says which recognisers run; `extra` names the user's module.

    Raises:
      ConfigError: the module does not load, or has no build() that returns a recogniser.
      MachineError: this process may have too little memory.
    """

    def __init__(self, profile: Profile) -> None:
        _check_memory(profile)
        with telling_shortage():
            self._load(profile)

    def _load(self, profile: Profile) -> None:
        logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
        from presidio_analyzer import predefined_recognizers

        ours = [m.build() for m in our_recognisers() if profile.scope.models or not m.RUNS_MODEL]
        self._batched = [r for r in ours if hasattr(r, "analyze_all")]  # a model is faster over several texts at once
        self._single = [r for r in ours if not hasattr(r, "analyze_all")]
        classes = (getattr(predefined_recognizers, f"{name}Recognizer") for name in _OF_PRESIDIO.split())
        self._presidio = _engine([c(supported_language="en") for c in classes])
        self._extra = _engine([_load_own(profile.extra)]) if profile.extra else None
        self._lowest, self._module = profile.lowest, profile.extra

    def analyze_all(self, texts: Sequence[str]) -> list[list[Result]]:
        """Returns (start, end, entity, score) of everything that reaches the profile's lowest threshold; spans may overlap."""
        found = [list(self._analyze(text)) for text in texts]
        for recogniser in self._batched:
            for results, more in zip(found, recogniser.analyze_all(list(texts)), strict=True):
                results += ((r.start, r.end, r.entity_type, r.score) for r in more)
        return found

    def _analyze(self, text: str) -> Iterator[Result]:
        for start, end in segments(text):
            for a, b, entity, score in self._by_presidio(text[start:end]):
                if _is_whole(text, start + a, start + b):
                    yield start + a, start + b, entity, score
        for recogniser in self._single:
            for r in recogniser.analyze(text, recogniser.supported_entities, None):
                yield r.start, r.end, r.entity_type, r.score
        if self._extra is not None:
            with running(f"recogniser {self._module}", "analyze", self._module):
                found = self._extra.analyze(text, language="en", score_threshold=self._lowest)
            if any(r.entity_type not in KIND_OF_ENTITY for r in found):
                raise PluginFailure(
                    f"The recogniser {self._module} failed in analyze(): it found an entity that its supported_entities lack."
                )
            for r in found:
                yield r.start, r.end, r.entity_type, r.score

    def _by_presidio(self, text: str) -> Iterator[Result]:
        for first, last in stretches(text):
            for r in self._presidio.analyze(text[first:last], language="en", score_threshold=self._lowest):
                if r.entity_type in KIND_OF_ENTITY:
                    yield first + r.start, first + r.end, r.entity_type, trusted(r.entity_type, r.score)


def _check_memory(profile: Profile) -> None:
    """Checks what the libraries are certain to need: OpenBLAS and ONNX Runtime end the process if they get less."""
    if profile.scope.models and "onnxruntime" not in sys.modules:
        check_machine(with_linear_algebra(NAMES_BYTES), 1, "The names model")
    elif "presidio_analyzer" not in sys.modules:
        check_machine(with_linear_algebra(PATTERNS_BYTES), 1, "Scrubbing")


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether a finding is not part of a longer word or number: half an IBAN may pass another country's checksum."""
    return not (text[start - 1 : start].isalnum() and text[start].isalnum()) and not (
        text[end : end + 1].isalnum() and text[end - 1].isalnum()
    )


def _engine(entity_recognisers: list[Any]) -> Any:
    import spacy
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
    engine.nlp = {"en": spacy.blank("en")}
    return AnalyzerEngine(
        registry=RecognizerRegistry(recognizers=entity_recognisers), nlp_engine=engine, supported_languages=["en"]
    )


def _load_own(module: str) -> Any:
    """Returns the recogniser that a module of the user's own builds."""
    from presidio_analyzer import EntityRecognizer

    build = getattr(load_module("recogniser", module, module), "build", None)
    if not callable(build) or not takes(build, ()):
        what = "has no function build()" if build is None else "has a build that cannot be called as build()"
        raise ConfigError(f"The recogniser {module!r} cannot be used: the module {what}.")
    with loading(f"The recogniser {module!r} cannot be built", module):
        recogniser = build()
    if not isinstance(recogniser, EntityRecognizer):
        raise ConfigError(
            f"The recogniser {module!r} cannot be used: its build() returned a {type(recogniser).__name__}, not Presidio's "
            "EntityRecognizer."
        )
    unknown = sorted(set(recogniser.supported_entities) - set(KIND_OF_ENTITY))
    if unknown:
        raise ConfigError(
            f"scrub extra={module!r} finds {', '.join(unknown)}: name a kind or an entity of fedlm/scrub/kinds.py."
        )
    return recogniser
