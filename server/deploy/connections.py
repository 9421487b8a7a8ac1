"""The open connections of the gateway: bounded in all and per owner, and a new one takes the place of an old one.

A full house that turns newcomers away can be kept full by silent connections. Here the oldest one of
whoever has most is ended instead: honest connections sign a request within milliseconds, and are not
strangers for longer. Addresses from which a node has signed before are spared.
"""

import asyncio
import contextlib
import ipaddress
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Container

Connection = asyncio.Task[None]
_REPORT_SECONDS = 60.0


class Pool:
    """Connections by owner.

    Args:
      total: the most at once.
      per_owner: of them of one owner.
    """

    def __init__(self, total: int, per_owner: int) -> None:
        self._total, self._per_owner, self._size = total, per_owner, 0
        self._owners: dict[str, dict[Connection, None]] = {}  # a dict keeps the order: the oldest is first

    def __len__(self) -> int:
        return self._size

    def add(self, owner: str, connection: Connection, spared: Container[str] = ()) -> bool:
        """Adds a connection, or makes it its owner's newest; returns whether another one was ended for it.

        Args:
          owner: whose it is.
          connection: the new one.
          spared: owners whose connections are ended for others only where there are no others.
        """
        self.remove(owner, connection)
        full = owner if len(self._owners.get(owner, ())) >= self._per_owner else ""
        if not full and self._size >= self._total:
            full = max(self._owners, key=lambda name: (name not in spared, len(self._owners[name])))
        if full:
            oldest = next(iter(self._owners[full]))
            self.remove(full, oldest)
            oldest.cancel()
        self._owners.setdefault(owner, {})[connection] = None
        self._size += 1
        return bool(full)

    def remove(self, owner: str, connection: Connection) -> None:
        """Removes a connection if it is there."""
        mine = self._owners.get(owner, {})
        if connection in mine:
            del mine[connection]
            self._size -= 1
            if not mine:
                del self._owners[owner]


class Recent:
    """The owners that were seen last, at most `most`."""

    def __init__(self, most: int) -> None:
        self._most, self._seen = most, dict[str, None]()

    def __contains__(self, owner: object) -> bool:
        return owner in self._seen

    def see(self, owner: str) -> None:
        """Makes an owner the newest."""
        self._seen.pop(owner, None)
        self._seen[owner] = None
        if len(self._seen) > self._most:
            del self._seen[next(iter(self._seen))]


class Rate:
    """Counts events per owner and second; `most` are allowed."""

    def __init__(self, most: int) -> None:
        self._most, self._second, self._seen = most, 0, Counter[str]()

    def allows(self, owner: str) -> bool:
        """Counts an event; returns whether it is within the limit."""
        if (second := int(time.monotonic())) != self._second:
            self._second, self._seen = second, Counter()
        self._seen[owner] += 1
        return self._seen[owner] <= self._most


class Bodies:
    """The bodies on their way to the SuperLink, which keeps each in memory: of a node at most `most` bytes at once."""

    def __init__(self, most: int, free: int = 2**16) -> None:
        self._most, self._free = most, free
        self._bytes, self._changed = Counter[str](), asyncio.Condition()

    @contextlib.asynccontextmanager
    async def passing(self, node: str, length: int) -> AsyncIterator[None]:
        """Waits until a body may pass; it has passed when the block ends. Small bodies (`free`) are not counted."""
        if length <= self._free:
            yield
            return
        async with self._changed:
            await self._changed.wait_for(lambda: self._bytes[node] + length <= self._most)
            self._bytes[node] += length
        try:
            yield
        finally:
            self._bytes[node] -= length
            self._bytes += Counter()  # drops the entries that are zero
            async with self._changed:
                self._changed.notify_all()


class Events:
    """Reports what the gateway refuses: each kind at once, then at most once a minute, with how many there were.

    The kinds are few and fixed, so an attack of any size writes a few lines a minute.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say, self._due, self._more = say, dict[str, float](), Counter[str]()

    def count(self, kind: str, address: str) -> None:
        """Notes an event; `address` is shown as an example."""
        now = time.monotonic()
        if now < self._due.get(kind, 0.0):
            self._more[kind] += 1
            return
        self._due[kind] = now + _REPORT_SECONDS
        more = f"; {self._more.pop(kind)} more before" if self._more[kind] else ""
        self._say(f"{time.strftime('%H:%M:%S')} gateway: {kind} ({address}{more})")


def this_task() -> Connection:
    """Returns the connection whose task is running.

    Raises:
      RuntimeError: none is.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("No task is running.")
    return task


def to_stderr(sentence: str) -> None:
    """Writes a line to stderr."""
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


def owner_of(host: str) -> str:
    """Returns whose connections an address counts as: its own, or its /64 (IPv6 hosts have that many addresses).

    >>> owner_of("192.0.2.7"), owner_of("2001:db8::1"), owner_of("::ffff:192.0.2.7")
    ('192.0.2.7', '2001:db8::/64', '192.0.2.7')
    """
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
