"""Federated training of language models on private text, and the measurement of what that costs."""

__version__ = "0.1.0"
