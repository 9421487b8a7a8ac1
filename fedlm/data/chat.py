"""A chat as one document: a list of messages of {role, content} or {from, value} becomes lines of `role: content`."""

from collections.abc import Mapping
from typing import Any

FORMS = (("role", "content"), ("from", "value"))
_TEXT = "text"  # the type of a part of a message
ACCEPTED = "text, a whole number, or a chat (a list of objects with role and content, or with from and value)"


def chat_text(value: object) -> str | None:
    """Returns a chat as text, one message after the other; None for any other value.

    A `content` may be a list of parts, if all are text (`{"type": "text", "text": ...}`). A data set of the hub may hold the
    messages as one object of lists.

    >>> chat_text([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}])
    'user: hi\\nassistant: hello'
    """
    messages = _rows(value)
    lines = None if messages is None else [_line(message) for message in messages]
    return None if lines is None or None in lines else "\n".join(line for line in lines if line)


def _rows(value: object) -> list[Any] | None:
    """Returns the messages; {"role": [...], "content": [...]} is what the hub makes of a sequence of objects."""
    if isinstance(value, list):
        return value
    for who, what in FORMS:
        if isinstance(value, Mapping) and isinstance(value.get(who), list) and isinstance(value.get(what), list):
            if len(value[who]) != len(value[what]):
                return None
            return [{who: a, what: b} for a, b in zip(value[who], value[what], strict=True)]
    return None


def _line(message: object) -> str | None:
    if not isinstance(message, Mapping):
        return None
    for who, what in FORMS:
        speaker, words = message.get(who), _words(message.get(what))
        if isinstance(speaker, str) and words is not None:
            return f"{speaker}: {words}"
    return None


def _words(content: object) -> str | None:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    parts = [part.get("text") if isinstance(part, Mapping) and part.get("type") == _TEXT else None for part in content]
    return "\n".join(map(str, parts)) if all(isinstance(part, str) for part in parts) else None
