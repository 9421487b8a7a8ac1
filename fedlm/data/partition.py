"""Splits a corpus anew among clients with any partitioner of flwr-datasets, by name: `dirichlet(alpha=0.1, num_partitions=100)`."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedlm.data.skew import OWN
from fedlm.errors import ConfigError
from fedlm.spec import Spec, parse_spec


def partition(spec: str, labels: Iterable[Mapping[str, str]], seed: int) -> npt.NDArray[np.int64]:
    """Returns the partition of each document (documents,), -1 where the partitioner leaves one out.

    Args:
      spec: `iid`, `dirichlet(...)`, `pathological(...)`, ...: the partitioner's class name without "Partitioner", in
        snake_case, with its own options; or one of `fedlm.data.skew`'s (`quantity`, `topics`, `minority`). `num_partitions` is 100 and `partition_by` the first label unless given.
      labels: of each document, `user` among them; never its text.
      seed: of the split; documents are shuffled first, since some partitioners do not.

    Raises:
      ConfigError: no such partitioner, or an option does not do.
    """
    parsed = parse_spec(spec)
    if parsed.name in OWN:
        return _own(spec, parsed, list(labels), seed)
    import datasets
    from flwr_datasets import partitioner as partitioners

    name = "".join(word.capitalize() for word in parsed.name.split("_")) + "Partitioner"
    make = getattr(partitioners, name, None)
    rows = list(labels)
    columns = {k: [r.get(k, "") for r in rows] for k in sorted({k for r in rows for k in r})}
    if make is None:
        known = sorted(n.removesuffix("Partitioner") for n in dir(partitioners) if n.endswith("Partitioner"))
        raise ConfigError(
            f"There is no partition {parsed.name!r}; flwr-datasets has: {', '.join(filter(None, known))}."
        )
    order = np.random.default_rng([seed, 4]).permutation(len(rows))
    table = datasets.Dataset.from_dict({k: [v[i] for i in order] for k, v in columns.items()} | {"place": order})
    try:
        chosen = make(**_options(make, parsed.options, columns, seed))
        chosen.dataset = table
        parts = [np.array(chosen.load_partition(i)["place"], np.int64) for i in range(chosen.num_partitions)]
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(f"The partition {spec!r} does not do: {error}") from None
    found = np.full(len(rows), -1, np.int64)
    for number, places in enumerate(parts):
        found[places] = number
    return found


def _own(spec: str, parsed: Spec, rows: list[Mapping[str, str]], seed: int) -> npt.NDArray[np.int64]:
    try:
        return OWN[parsed.name](rows, seed, **parsed.options)
    except TypeError as error:
        raise ConfigError(f"The partition {spec!r} does not do: {error}.") from None


def _options(make: Any, options: Mapping[str, Any], columns: Mapping[str, object], seed: int) -> dict[str, Any]:
    import inspect

    wanted = inspect.signature(make).parameters
    first = next((c for c in columns if c not in ("user", "characters")), "user")
    defaults = {"num_partitions": 100, "partition_by": first, "seed": seed % 2**32, "min_partition_size": 0}
    return {k: v for k, v in defaults.items() if k in wanted} | dict(options)
