"""The error for a message that does not have the layout of its kind."""


class Malformed(ValueError):
    """A message does not have the layout of its kind. The text names a field, never a value."""
