"""Distributes a corpus over new clients, with any partitioner of flwr-datasets: `dirichlet(alpha=0.1, num_partitions=100)`."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedlm.data.skew import OWN
from fedlm.errors import ConfigError, first_sentence
from fedlm.plugins.options import check_arguments
from fedlm.rng import Purpose, stream
from fedlm.spec import Spec, parse_spec
from fedlm.system.terminal import quiet_stderr


def partition(spec: str, labels: Iterable[Mapping[str, str]], seed: int) -> npt.NDArray[np.int64]:
    """Returns the partition of each document (documents,), -1 where the partitioner leaves one out; see `deal`."""
    return deal(spec, labels, seed)[0]


def deal(spec: str, labels: Iterable[Mapping[str, str]], seed: int) -> tuple[npt.NDArray[np.int64], int]:
    """Returns what `partition` returns, and the number of partitions, those that got no document included.

    Args:
      spec: `iid`, `dirichlet(...)`, `pathological(...)`, ...: the partitioner's class name without "Partitioner", in
        snake_case, with its own options; or one of `fedlm.data.skew` (`quantity`, `topics`, `minority`, `within`). By default
        `num_partitions` is 100 and `partition_by` the first label.
      labels: of each document, with `user`; never its text.
      seed: of the partition. Documents are shuffled first, because some partitioners do not shuffle.

    Raises:
      ConfigError: there is no such partitioner, or an option is invalid.
    """
    parsed, rows = parse_spec(spec), list(labels)
    if parsed.name in OWN:
        check_arguments("partition", parsed, OWN[parsed.name], beside=("rows", "seed"))
        found = OWN[parsed.name](rows, seed, **parsed.options)
        return found, int(parsed.options.get("clients", found.max(initial=-1) + 1))
    columns = {k: [r.get(k, "") for r in rows] for k in sorted({k for r in rows for k in r})}
    make = _partitioner(parsed.name)
    options = _options(make, parsed.options, columns, seed)
    check_arguments("partition", Spec(parsed.name, options), make)
    if (wanted := options.get("partition_by")) not in (None, *columns):
        raise ConfigError(f"No document has the label {wanted!r}; the corpus has: {', '.join(columns)}.")
    order = stream(seed, Purpose.PARTITION).permutation(len(rows))
    try:
        with quiet_stderr():  # progress bars and warnings of the libraries
            parts = _parts(make(**options), columns, order)
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:  # flwr-datasets checks only some of them
        why = first_sentence(error) if isinstance(error, ValueError) else "a value is out of range for this corpus"
        raise ConfigError(f"The partition {spec!r} cannot be made: {why}.") from None
    found = np.full(len(rows), -1, np.int64)
    for number, places in enumerate(parts):
        found[places] = number
    return found, len(parts)


def _partitioner(name: str) -> Any:
    """Returns a partitioner's class: `dirichlet` is DirichletPartitioner."""
    from flwr_datasets import partitioner as partitioners

    make = getattr(partitioners, "".join(word.capitalize() for word in name.split("_")) + "Partitioner", None)
    if make is None:
        known = sorted(n.removesuffix("Partitioner") for n in dir(partitioners) if n.endswith("Partitioner"))
        raise ConfigError(f"There is no partition {name!r}; flwr-datasets has: {', '.join(filter(None, known))}.")
    return make


def _parts(
    partitioner: Any, columns: Mapping[str, list[str]], order: npt.NDArray[np.int64]
) -> list[npt.NDArray[np.int64]]:
    """Returns each partition's documents, as positions in the corpus."""
    import datasets

    shuffled = {key: [values[i] for i in order] for key, values in columns.items()}
    partitioner.dataset = datasets.Dataset.from_dict(shuffled | {"place": order})
    count = partitioner.num_partitions
    return [np.array(partitioner.load_partition(i)["place"], np.int64) for i in range(count)]


def _options(make: Any, options: Mapping[str, Any], columns: Mapping[str, object], seed: int) -> dict[str, Any]:
    """Returns a partitioner's options: those given, and our defaults for parameters that it has."""
    wanted = inspect.signature(make).parameters
    first = next((c for c in columns if c not in ("user", "characters")), "user")
    defaults = {"num_partitions": 100, "partition_by": first, "seed": seed % 2**32, "min_partition_size": 0}
    return {k: v for k, v in defaults.items() if k in wanted} | dict(options)
