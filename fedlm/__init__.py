"""Federated training of language models on private text, and the measurement of what that costs.

    from fedlm import RunConfig, prepare, simulate, tune, evaluate, generate, load_run, Study

The names load when they are used (PEP 562): `import fedlm` by itself loads only what finds our packages. Their types are
in `__init__.pyi`.
"""

from fedlm.plugins.path import pin

pin()  # before anything else of ours is imported

__version__ = "0.1.0"

_MODULES = {
    "RunConfig": "fedlm.config",
    "prepare": "fedlm.api",
    "simulate": "fedlm.api",
    "tune": "fedlm.api",
    "load_run": "fedlm.api",
    "evaluate": "fedlm.api",
    "generate": "fedlm.api",
    "Prepared": "fedlm.api",
    "Run": "fedlm.api",
    "Tuned": "fedlm.api",
    "Study": "scenarios.runner.study",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    from importlib import import_module  # only now: see `fedlm.plugins.path`

    # By name, so that this module, which all others import, has no import statement of theirs.
    if name not in _MODULES:
        raise AttributeError(f"module 'fedlm' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
