"""Names at their usual places in e-mails: headers, greetings, sign-offs, and the line that introduces a quotation."""

from presidio_analyzer import EntityRecognizer

from fedlm.scrub.letters import CAPITAL, MARK, UNCASED
from fedlm.scrub.patterns import Rules, rule

RUNS_MODEL = False
HITS = (
    ("Hello Jane Doe,\nthe rest", "Jane Doe"),
    ("From: Jane Doe <x@y.org>\n", "Jane Doe"),
    ("see you\n\nBest regards,\nJane Doe\n", "Jane Doe"),
)
NEAR_MISSES = (
    "Hello all,\nthe rest",
    "From: the beginning",
)

_FIRST = f"[{CAPITAL}{UNCASED}]"  # of a name
_REST = rf"[\w{MARK}'’-]"
_PARTICLE = r"(?:(?:van|von|de|der|den|del|da|di|la|le|bin|al)[ ])"
_NAME = rf"{_FIRST}{_REST}+(?:[ ]{_PARTICLE}{{0,2}}{_FIRST}{_REST}*\.?){{0,3}}"
_GREETING = r"(?:Dear|Hi|Hello|Hey|Hallo|Hola|Bonjour|Ciao|Liebe[r]?|Cher|Chère|Beste|Dearest|Greetings)"
_NOBODY = (
    r"(?!(?:All|Team|Everyone|Everybody|Sir|Madam|Sirs|There|Customer|Customers|Colleagues?|Friends?|Folks|Guys|Both|Again|Ladies|"
    r"Gentlemen|Members?|Mr|Mrs|Ms|Dr|Miss|Prof|Mom|Mum|Dad|You|The|This|My|Hiring|World|God|Kitty|Lord|Support|Sales|Office|I|"
    r"Re|Fwd|Subject|Undisclosed|Santa|It|To|New|Happy|Good|Please|Thanks|Thank)\b)"
)


def build() -> EntityRecognizer:
    """Returns the recogniser."""
    sign_off = (
        r"(?:(?:(?:Kind|Best|Warm|Many|With)[ ])?(?:[Kk]ind[ ])?(?:[Rr]egards|[Ww]ishes|[Tt]hanks)|Thanks(?:[ ](?:again|a[ ]lot|so[ ]much))?|Thank[ ]you|"
        r"Cheers|Best|All[ ]the[ ]best|Sincerely|Yours(?:[ ]\w+)?|Love|Rgds|Br|BR|Ciao|xx?|Mit[ ]freundlichen[ ]Grüßen|LG|VG|Cordialement|Saludos)"
    )
    return Rules(
        "mail",
        (
            rule(
                "PERSON",
                rf"(?m)^[ >|\t]*(?:From|To|Cc|CC|Bcc|Sender|Reply-To|Attn|Sent[ ]by|Von|An|De|Para)[ ]?:[ \t]*[\"']?{_NOBODY}(?P<it>{_NAME})[\"']?(?=[ ]*(?:[<\[(,;\n]|$))",
                0.7,
            ),
            rule(
                "PERSON",
                rf"(?m)^[ >|\t]*(?:From|To|Cc|CC)[ ]?:[ \t]*[\"']?(?P<it>{_FIRST}{_REST}+,[ ]{_FIRST}{_REST}+(?:[ ][{CAPITAL}]\.?)?)(?=[\"']?[ ]*(?:[<\[(;\n]|$))",
                0.75,
            ),
            rule(
                "PERSON",
                rf"(?m)(?:^|[ ,;:\"'])(?P<it>{_FIRST}(?:{_REST}|\.)*(?:,?[ ]{_FIRST}(?:{_REST}|\.)*){{0,3}})[\"']?[ ]<(?=[\w.+-]+@)",
                0.8,
                needs="<",
            ),
            rule("PERSON", rf"(?m)^[ >|\t]*{_GREETING}[ ]{_NOBODY}(?P<it>{_NAME})(?=[ ]*(?:[,!:.\n–-]|$))", 0.7),
            rule(
                "PERSON",
                rf"(?m)^[ >|\t]*{sign_off}[ ]?[,.!]?[ ]*\n{{1,3}}[ >|\t]*[-–~]{{0,2}}[ ]?{_NOBODY}(?P<it>{_NAME})(?=[ ]*(?:[,(|/\n]|$))",
                0.7,
            ),
            rule("PERSON", rf"(?m)^[ >|\t]*On[ ].{{6,60}}?,[ ](?P<it>{_NAME})(?:[ ]<[^>\n]*>)?[ ]wrote:", 0.75),
            rule(
                "PERSON",
                rf"(?i:\b(?:my[ ]name[ ]is|my[ ]name's|this[ ]is|i[ ]am[ ]called|call[ ]me|ich[ ]hei(?:ß|ss)e|je[ ]m'appelle|me[ ]llamo))[ ](?P<it>{_NAME})",
                0.6,
            ),
            rule(
                "PERSON",
                rf"(?i)\b(?:my[ ]name[ ]is|my[ ]name's|call[ ]me|je[ ]m'appelle|me[ ]llamo)[ ](?!a\b|an\b|the\b|not\b|on\b|at\b|back\b|when\b|if\b|after\b|later\b|crazy\b|asap\b|maybe\b|and\b|or\b|to\b|in\b|tomorrow\b|any\b|so\b)(?P<it>[^\W\d_]{_REST}{{1,15}})",
                0.5,
            ),
        ),
    )
