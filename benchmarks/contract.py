"""What an owner's contract costs a node in a round: the request's digest, the durable claims, and the kept reply of `local`.

    python -m benchmarks.contract [--clients 10 100] [--repeats 20]

The weights are those of the default model (820,522). A round of ten clients with ten batches each takes about half a second
on two cores (docs/performance.md).
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from flwr.app import Message

from clients.contract.approvals import Approvals
from clients.contract.contract import Contract, Site, digest_of
from clients.contract.memory import Memory
from clients.policy import Policy
from fedlm.config import RunConfig
from fedlm.messages.delivery import Delivery
from fedlm.messages.fields import weights_record
from fedlm.messages.training import TrainRequest
from server.engines.local import take_identity

WEIGHTS = 820_522


def seconds(call: Callable[[int], object], repeats: int) -> float:
    """Returns the median time of a call that is told its number."""
    times = []
    for number in range(1, repeats + 1):
        start = time.perf_counter()
        call(number)
        times.append(time.perf_counter() - start)
    return median(times)


def measure(clients: int, repeats: int, folder: Path) -> dict[str, float]:
    """Returns milliseconds by step."""
    take_identity()
    config = RunConfig(rounds=repeats, cohort_size=clients)
    settings, own = config.to_settings(), np.arange(1, clients + 1, dtype=np.uint64)
    record = weights_record((np.zeros(WEIGHTS, np.float32),))
    policy = Policy(max_runs=1)
    memory = Memory(folder / f"memory-{clients}", bytes(32))
    contract = Contract(policy, Site(own, "server", lambda: "bundle"), Approvals(folder / f"runs-{clients}"), memory)

    def message(number: int) -> Message:
        made = Message(TrainRequest(settings, number, own, record).content(), 2, TrainRequest.kind)
        Delivery("run", "chunk").stamp(made.content)
        return made

    messages = [message(number) for number in range(1, repeats + 1)]
    digests = [digest_of("run", m.metadata.message_type, m.content) for m in messages]

    def check(number: int) -> None:
        request, known = policy.check(messages[number - 1])
        contract.check("run", request, request.settings, known, digests[number - 1])

    reply = bytes(8 * WEIGHTS)  # int64 sums
    return {
        "digest": 1e3 * seconds(lambda n: digest_of("run", TrainRequest.kind, messages[n - 1].content), repeats),
        "policy, manifest and claims": 1e3 * seconds(check, repeats),
        "kept reply (local only)": 1e3 * seconds(lambda n: memory.keep_reply(digests[n - 1], reply), repeats),
    }


def main() -> None:
    """Prints milliseconds per request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--clients", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        for clients in args.clients:
            for step, milliseconds in measure(clients, args.repeats, Path(folder)).items():
                print(f"{clients} clients, {step}: {milliseconds:.1f} ms")


if __name__ == "__main__":
    main()
