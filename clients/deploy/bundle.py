"""The Flower app bundle of the installed package: the same bytes on every machine that has the same version."""

import hashlib
import json
from pathlib import Path

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
    """Returns the hash that an owner allows."""
    return hashlib.sha256(build_bundle(root)).hexdigest()


def _project() -> str:
    """Returns what Flower reads: the app's parts, and the configuration keys that a run may carry."""
    defaults = {"out": "", **{k.replace("_", "-"): v for k, v in RunConfig.checked({}).model_dump().items()}}
    include = [f"{package}/**/*.py" for package in _PACKAGES]
    return "\n".join(
        [
            "[project]",
            'name = "fedlm"',
            'version = "0.1.0"',
            'description = "Federated training of language models on private text"',
            'license = "Apache-2.0"',
            "dependencies = []",
            "[tool.flwr.app]",
            'publisher = "fedlm"',
            f"fab-include = {json.dumps(include)}",
            "[tool.flwr.app.components]",
            'serverapp = "server.app:app"',
            'clientapp = "clients.app:app"',
            "[tool.flwr.app.config]",
            *[f"{key} = {json.dumps(value)}" for key, value in defaults.items()],
            "",
        ]
    )
