"""Federated training of language models on private text, and the measurement of what that costs.

    from fedlm import RunConfig, prepare, simulate, evaluate, generate, load_run, Study

The names load when they are used: `import fedlm` by itself imports nothing else (PEP 562). Their types are in `__init__.pyi`.
"""

from importlib import import_module

__version__ = "0.1.0"

_MODULES = {
    "RunConfig": "fedlm.config",
    "prepare": "fedlm.api",
    "simulate": "fedlm.api",
    "load_run": "fedlm.api",
    "evaluate": "fedlm.api",
    "generate": "fedlm.api",
    "Prepared": "fedlm.api",
    "Run": "fedlm.api",
    "Study": "scenarios.runner.study",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    # By name, so that this module, which all others import, has no import statement of theirs.
    if name not in _MODULES:
        raise AttributeError(f"module 'fedlm' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
