"""Dates in words and digits: "12 March 2020", "March 12th", "Mar 2020", "2020-03-12", "12.3.20".

Presidio's recogniser knows digits only. A time of day, weekday, month or year by itself is not a finding, because it identifies no one.
"""

from presidio_analyzer import EntityRecognizer

from fedlm.scrub.patterns import DIGITS, Rules, rule

RUNS_MODEL = False
HITS = (
    ("due on 12 March 2020, please", "12 March 2020"),
    ("signed 2020-03-12", "2020-03-12"),
    ("born 4.5.1978 in spring", "4.5.1978"),
)
NEAR_MISSES = (
    "in March we march",
    "version 1.2.3",
)

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?"
    r"|dec(?:ember)?|januar|februar|märz|mai|juni|juli|oktober|dezember|janvier|février|mars|avril|juin|juillet|août|septembre"
    r"|octobre|novembre|décembre|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre"
    r"|gennaio|febbraio|aprile|maggio|giugno|luglio|settembre|ottobre|dicembre)\.?"
)
_DAY = r"(?:3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?\.?"
_YEAR = r"(?:1[89]\d\d|20\d\d)"


def build() -> EntityRecognizer:
    """Returns the recogniser."""
    return Rules(
        "date",
        (
            rule(
                "DATE_TIME", rf"(?i)(?<![\w.]){_DAY}[ ](?:of[ ]|de[ ])?{_MONTH},?(?:[ ](?:de[ ])?{_YEAR})?(?!\w)", 0.8
            ),
            rule("DATE_TIME", rf"(?i)(?<!\w){_MONTH}[ ]{_DAY}(?:,?[ ]{_YEAR})?(?![\w:])(?!,\d)", 0.8),
            rule("DATE_TIME", rf"(?i)(?<!\w){_MONTH},?[ ]{_YEAR}(?!\w)", 0.8),
            rule("DATE_TIME", rf"(?i)(?<!\w)(?:0?[1-9]|[12]\d|3[01])-{_MONTH}-(?:{_YEAR}|\d\d)(?!\w)", 0.8),
            rule(
                "DATE_TIME",
                rf"(?<![\w./-]){_YEAR}(?P<s>[-/.])(?:1[0-2]|0?[1-9])(?P=s)(?:3[01]|[12]\d|0?[1-9])(?![\w/]|-\d)(?:T[\d:.]+Z?)?",
                0.8,
            ),
            rule(
                "DATE_TIME",
                r"(?<![\w./-])(?:3[01]|[12]\d|0?[1-9])(?P<s>[-/.])(?:3[01]|[12]\d|0?[1-9])(?P=s)(?:1[89]\d\d|20\d\d|\d\d)(?![\w/]|-\d|\.\d)",
                0.75,
            ),
            rule(
                "DATE_TIME",
                rf"(?i)(?<![\w-])(?:{_MONTH}-(?:{_YEAR}|\d\d)|(?:0?[1-9]|[12]\d|3[01])-{_MONTH})(?![\w-])",
                0.7,
            ),
            rule("DATE_TIME", rf"(?<![\w./-])(?:1[0-2]|0?[1-9])/{_YEAR}(?![\w/])", 0.6),
            rule(
                "DATE_TIME",
                rf"(?<![\w./-]){_YEAR}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?(?!\w)",
                0.9,
            ),
            rule(
                "DATE_TIME",
                r"(?i)\b(?:dob|born|birth(?:day|date)?|date[ ]of[ ]birth)\b[ :a-z]{0,12}(?P<it>\d{1,2}[-/. ]\d{1,2}(?:[-/. ]\d{2,4})?|\d{8}|(?:19|20)\d\d)(?!\d)",
                0.8,
            ),
        ),
        needs=DIGITS,
    )
