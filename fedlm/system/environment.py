"""The environment variables of fedlm's programs and of the processes that they start: ours, whoever set which before.

A notebook exports MPLBACKEND, a colleague's profile PYTHONWARNINGS, a cluster KERAS_BACKEND. Some of them end a process
when it imports TensorFlow, others change the bits of a run. What reads results or code is set or taken out here; what
says where things are (PATH, HOME, CUDA_VISIBLE_DEVICES), how loud they are, or which processor there is, stays.

This module loads before the module path is in order, so it imports what Python has loaded already and nothing else.
"""

import os
from collections.abc import Mapping

_OWNERS = ("PYTHON", "KERAS_", "MPL", "MATPLOTLIBRC", "TF_", "TF2_", "NPY_", "ONEDNN_", "DNNL_")
_KEPT = (
    *("PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONPLATLIBDIR"),  # where Python is
    *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONHASHSEED", "PYTHONUTF8", "PYTHONSAFEPATH"),
    *("PYTHONFAULTHANDLER", "PYTHONUNBUFFERED", "PYTHONMALLOC", "PYTHONNODEBUGRANGES", "PYTHONCOERCECLOCALE"),
    *("MPLCONFIGDIR", "TF_CPP_", "TF_GPU_", "TF_FORCE_GPU_", "TF_CUDA", "TF_CUDNN"),
)
_SET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_DISABLE_UPDATE_CHECK": "1",  # it would tell its makers the versions of Flower, Python and the system
    "KERAS_BACKEND": "tensorflow",
    "KERAS_HOME": f"{os.devnull}/keras",  # no folder: Keras reads no keras.json (floatx, epsilon) and writes none
    "MPLBACKEND": "agg",  # figures go to files
    "MATPLOTLIBRC": os.devnull,  # no settings of the user's
}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_NO_PROXY = ("no_proxy", "NO_PROXY", "no_grpc_proxy")


def clean(variables: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables with which a process of fedlm runs, from those that it was given.

    >>> found = clean({"PYTHONWARNINGS": "error", "MPLBACKEND": "gtk3agg", "TZ": "UTC", "no_proxy": "example.org"})
    >>> found["TZ"], found["MPLBACKEND"], found["no_proxy"], "PYTHONWARNINGS" in found
    ('UTC', 'agg', 'example.org,localhost,127.0.0.1,::1', False)
    """
    kept = {name: value for name, value in variables.items() if not _is_dropped(name, value)}
    return {**kept, **_SET, **_direct(variables)}


def _is_dropped(name: str, value: str) -> bool:
    if name == "COLUMNS":  # help of no width shows nothing
        return not value.isdigit() or int(value) == 0
    if name == "TMPDIR":  # Ray would end
        return not os.path.isdir(value)  # noqa: PTH112 - see the top
    return name.startswith(_OWNERS) and not name.startswith(_KEPT)


def _direct(variables: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables that keep calls to this machine away from a proxy; other hosts keep the user's choice."""
    given = next((variables[name] for name in _NO_PROXY[:2] if variables.get(name)), "")
    grpc = variables.get("no_grpc_proxy", "")  # gRPC reads this one instead, where it is set
    found = {"no_proxy": _with_loopback(given), "NO_PROXY": _with_loopback(given)}
    return {**found, "no_grpc_proxy": _with_loopback(grpc)} if grpc else found


def _with_loopback(hosts: str) -> str:
    named = [host.strip() for host in hosts.split(",") if host.strip()]
    return ",".join(named if "*" in named else dict.fromkeys([*named, *_LOOPBACK]))
