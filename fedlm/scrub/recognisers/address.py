"""Street addresses by their form: "12 Mill Lane", "Hauptstraße 5", "5 rue de la Paix", "PO Box 12"; the names model finds others."""

from presidio_analyzer import EntityRecognizer

from fedlm.scrub.letters import CAPITAL, LETTER, LOWER
from fedlm.scrub.patterns import DIGITS, Rules, rule

RUNS_MODEL = False
HITS = (
    ("we meet at 12 Mill Lane today", "12 Mill Lane"),
    ("Berlin, Hauptstraße 5, bitte", "Hauptstraße 5"),
    ("send it to PO Box 12 please", "PO Box 12"),
)
NEAR_MISSES = (
    "12 people walk",
    "the lane was long",
)

_LETTER = r"[^\W\d_]"
_NUMBER = rf"\d{{1,5}}{_LETTER}?(?:[-/]\d{{1,4}}{_LETTER}?)?"
_ENDS = (
    r"(?:Street|St|Road|Rd|Avenue|Ave|Av|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Way|Place|Pl|Square|Sq|Terrace|Ter|Close|"
    r"Crescent|Cres|Gardens|Row|Mews|Highway|Hwy|Parkway|Pkwy|Trail|Trl|Alley|Circle|Cir|Loop|Plaza|Walk|Hill|Green|Park|"
    r"Route|Pass|Path|Pike|Turnpike|Bypass|Expressway|Freeway|Causeway|Ridge|Rue|Calle|Via|Camp|Points?|Ports?|Rest|Coves?|"
    r"Knolls?|Grove|Groves|Meadows?|Mills?|Oval|Ramp|Rapids|Shoals?|Shores?|Springs?|Spurs?|Stream|Summit|Throughway|Tunnel|"
    r"Underpass|Union|Unions|Valley|Valleys|Via|Viaduct|Views?|Villages?|Ville|Vista|Wells?|Burgs?|Bluffs?|Branch|Bridge|"
    r"Brooks?|Canyon|Cape|Center|Centers|Cliffs?|Club|Common|Corners?|Course|Courts|Creek|Crest|Crossing|Crossroad|Curve|Dale|"
    r"Dam|Divide|Drives|Estates?|Extensions?|Falls|Ferry|Fields?|Flats?|Fords?|Forest|Forges?|Forks?|Fort|Garden|Gateway|Glens?|"
    r"Greens|Harbors?|Haven|Heights|Hills|Hollow|Inlet|Islands?|Isle|Junctions?|Keys?|Lakes?|Land|Landing|Lights?|Locks?|Lodge|"
    r"Mall|Manors?|Mission|Motorway|Mount|Mountains?|Neck|Orchard|Overpass|Parks|Parkways|Passage|Pines?|Plains?|Prairie|"
    r"Radial|Ranch|Ridges|River|Roads|Skyway|Squares|Station|Stravenue|Streets|Track|Trace|Trafficway|Walks|Wall|Ways)"
)
_WORD = rf"[{CAPITAL}][\w'’.-]*"
_UNIT = r"(?:,?[ ](?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Fl|Room|Rm|Bldg|No)\.?[ ]?\#?\w{1,5})?"


def build() -> EntityRecognizer:
    """Returns the recogniser."""
    return Rules(
        "address",
        (
            rule(
                "STREET_ADDRESS",
                rf"(?:(?<![\w$£€.,:])|(?<=[^\W\d_][,:])){_NUMBER},?[ ](?:[NSEW]\.?[ ])?(?:{_WORD}[ ]){{1,3}}{_ENDS}\.?(?:[ ][NSEW]{{1,2}}\b)?(?!\w){_UNIT}",
                0.86,
                needs=DIGITS,
            ),
            rule(
                "STREET_ADDRESS",
                rf"(?i)(?:(?<![\w$£€.,:])|(?<=[^\W\d_][,:])){_NUMBER}[ ][{LETTER}'’-]+(?:[ ]{_LETTER}+)?[ ](?:street|road|avenue|lane|boulevard|ave|rd|blvd)\b{_UNIT}",
                0.8,
                needs=DIGITS,
            ),
            rule(
                "STREET_ADDRESS",
                rf"(?<!\w)[{CAPITAL}{LOWER}'’. -]{{0,30}}?\b[{CAPITAL}][\w-]*(?:straße|strasse|str\.|straat|gasse|allee|platz|laan|plein|kade|gracht|gatan|vägen|vej|weg|ring|hof)[ ]\d{{1,4}}{_LETTER}?(?:[/-]\d{{1,3}})?(?!\w)",
                0.86,
                needs=DIGITS,
            ),
            rule(
                "STREET_ADDRESS",
                rf"(?i)(?<!\w){_NUMBER},?[ ](?:bis[ ]|ter[ ])?(?:rue|avenue|boulevard|chemin|place|allée|impasse|quai)[ ](?:(?:de|du|des|la|le|les)[ ]|d['’]|l['’]){{0,3}}[\w'’-]+(?:[ ]{_LETTER}[\w'’-]+){{0,2}}",
                0.84,
                needs=DIGITS,
            ),
            rule(
                "STREET_ADDRESS",
                rf"(?<!\w)(?:Calle|C/|Avenida|Avda\.?|Plaza|Paseo|Via|Viale|Piazza|Corso|Strada|Vicolo|Largo|Rua|ul\.|al\.|os\.|pl\.|plac|aleja|ulica|Rue|Ronda|Camino|Glorieta|Cuesta|Pasadizo|Vial|Rambla|Callejón|Acceso|Alameda|Urbanización|Canale|Borgo|Contrada|Incrocio|Rotonda|Stretto)[ ][\w'’ .-]{{2,40}}?,?[ ](?:n[.ºo°]*[ ]?)?\d{{1,4}}{_LETTER}?(?:/\d{{1,4}})?(?!\w)(?:[ ](?:Piso|Puerta|Apt\.?|Appartamento|Piano)[ ]\w{{1,4}})?",
                0.84,
                needs=DIGITS,
            ),
            rule(
                "STREET_ADDRESS",
                r"(?i)(?<!\w)(?:p\.?[ ]?o\.?[ ]box|postfach|apartado|unit|apt\.?|flat|suite|psc|usns|uss|usnv|usnr)[ ]?(?:\#|no\.?[ ]?)?\d[\w-]{0,6}(?:[ ,]+(?:box|apo|fpo|ap|ae|aa)\b(?:[ ]\d+)?)*",
                0.7,
                needs=DIGITS,
            ),
        ),
    )
