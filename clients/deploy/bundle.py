"""The Flower app bundle of the installed package, which has the same bytes wherever the same version is installed.

An owner allows a bundle by its hash (`bundles` in policy.toml), so both sides must build it alike.
"""

import hashlib
from pathlib import Path

import tomli_w

from fedlm.config import RunConfig

_PACKAGES = ("fedlm", "clients", "server", "scenarios")


def build_bundle(root: Path | None = None) -> bytes:
    """Returns the bundle; `root` is the folder that holds the packages."""
    from flwr.cli.build import build_fab_from_files

    root = root or Path(__file__).resolve().parents[2]
    names = [p for package in _PACKAGES for p in sorted((root / package).rglob("*.py"))]
    files: dict[str, bytes | Path] = {p.relative_to(root).as_posix(): p.read_bytes() for p in names}
    files["pyproject.toml"] = _project().encode()
    return build_fab_from_files(files)[0]


def bundle_sha256(root: Path | None = None) -> str:
    """Returns the hash by which an owner allows the bundle."""
    return hashlib.sha256(build_bundle(root)).hexdigest()


def _project() -> str:
    """Returns the pyproject.toml that Flower reads: the app's parts, and the configuration keys that a run may carry."""
    defaults = {"out": "", **{k.replace("_", "-"): v for k, v in RunConfig.checked({}).model_dump().items()}}
    app = {
        "publisher": "fedlm",
        "fab-include": [f"{package}/**/*.py" for package in _PACKAGES],
        "components": {"serverapp": "server.app:app", "clientapp": "clients.app:app"},
        "config": defaults,
    }
    project = {
        "name": "fedlm",
        "version": "0.1.0",
        "description": "Federated training of language models on private text",
        "license": "Apache-2.0",
        "dependencies": [],
    }
    return tomli_w.dumps({"project": project, "tool": {"flwr": {"app": app}}})
