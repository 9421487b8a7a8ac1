"""The one reader of JSON that comes from another machine: an object of limited size and depth, or `Malformed`.

Python's own reader takes more than JSON: NaN and Infinity, a key twice (the last value wins), half of a surrogate pair (a
string that cannot be sent on), and as much nesting as its stack allows.
"""

import math
from functools import lru_cache
from typing import Any

from fedlm.messages.malformed import Malformed
from fedlm.system.plain_text import read_json

MAX_CHARACTERS = 2**23
"""The longest text: a configuration with the vocabulary that its file holds has a hundredth of it."""

MAX_DEPTH = 16
_KEPT = 2  # texts whose check is remembered: all messages of a run have the same configuration


def read_object(text: str, field: str = "settings") -> dict[str, Any]:
    """Returns the object in a text.

    Args:
      text: from another machine.
      field: the name of the field that it came in.

    Raises:
      Malformed: it is no JSON object, or larger or deeper than the limits.
    """
    if len(text) > MAX_CHARACTERS:
        raise Malformed(f"the field {field!r} has more than {MAX_CHARACTERS} characters")
    try:
        found = read_json(text, is_strict=True)
        _check(found)
    except (ValueError, RecursionError):  # a text of brackets may be nested as deep as it is long
        raise Malformed(f"the field {field!r} is not a configuration as JSON") from None
    if not isinstance(found, dict):
        raise Malformed(f"the field {field!r} is not a configuration as JSON")
    return found


@lru_cache(_KEPT)
def check_object(text: str, field: str = "settings") -> None:
    """Raises `Malformed` where `read_object` does. Equal texts are read once."""
    read_object(text, field)


def _check(value: Any) -> None:
    """Refuses nesting beyond the limit, and text that is no Unicode; level by level, so that depth costs no stack."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        following = list[Any]()
        for each in level:
            if isinstance(each, str):
                each.encode()  # a UnicodeEncodeError is a ValueError
            elif isinstance(each, float) and not math.isfinite(each):  # 1e999
                raise ValueError("a number is too large")
            elif isinstance(each, dict):
                following += [*each, *each.values()]
            elif isinstance(each, list):
                following += each
        if not following:
            return
        level = following
    raise ValueError("nested too deep")
