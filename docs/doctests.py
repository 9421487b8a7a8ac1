"""An extension of Griffe for the site: examples in docstrings (`>>>`) become code blocks, where Markdown sees quotes."""

import re
from typing import Any

from griffe import Extension, Object

_EXAMPLE = re.compile(r"(?:^|(?<=\n))>>> .*?(?=\n\s*\n|\Z)", re.S)


class Doctests(Extension):
    """Puts each example into a fence."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Changes the docstring of an object once it is collected."""
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub(lambda m: f"```pycon\n{m[0]}\n```", obj.docstring.value)
