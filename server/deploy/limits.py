"""How much the gateway takes: connections, bytes and time, always below what the process may open."""

import resource
from dataclasses import dataclass, fields, replace

_DESCRIPTORS, _OWN_DESCRIPTORS, _LEAST = 16384, 40, 4


@dataclass(frozen=True)
class Limits:
    """The gateway's limits, the table `limits` of server.toml.

    A connection is a stranger's until its first signed request, and then a node's.

    Attributes:
      strangers: connections of strangers.
      strangers_per_address: of them from one address (IPv6: one /64).
      new_per_second: new connections a second from one address.
      nodes: connections of nodes.
      per_node: of them of one node.
      head_seconds: from a new connection to its first whole head, TLS included.
      idle_seconds: from one request to the next one's whole head.
      stall_seconds: how far a body may fall behind `bytes_per_second`; also for a response that the node does not read.
      bytes_per_second: the least mean rate of a body.
      response_seconds: for the SuperLink.

    Raises:
      ValueError: one is not a positive number.
    """

    strangers: int = 256
    strangers_per_address: int = 32
    new_per_second: int = 128
    nodes: int = 4096
    per_node: int = 32
    head_seconds: float = 10.0
    idle_seconds: float = 75.0
    stall_seconds: float = 20.0
    bytes_per_second: int = 8192
    response_seconds: float = 120.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kinds = getattr(self, field.name), (int,) if field.type is int else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:
                raise ValueError(f"Invalid value for {field.name}: {value!r} is not a positive number.")

    def behind_a_proxy(self) -> "Limits":
        """Returns the limits behind nginx or Caddy: all connections are the proxy's, which counts addresses itself."""
        return replace(
            self, strangers_per_address=self.strangers, new_per_second=2**31, per_node=max(self.per_node, self.nodes)
        )

    def within(self, descriptors: int) -> "Limits":
        """Returns limits that never need more descriptors: a stranger has one; a node one, and one to the SuperLink."""
        share = max((descriptors - _OWN_DESCRIPTORS) // 3, _LEAST)
        return replace(self, strangers=min(self.strangers, share), nodes=min(self.nodes, share))


def raise_descriptor_limit() -> int:
    """Raises how many files and connections this process and its children may open; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < highest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
        return highest
    return _DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
