"""Who is ended when the house is full, what is counted, and what is reported."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from server.deploy.connections import Bodies, Events, Pool, Rate, Recent, owner_of
from server.deploy.limits import Limits


def with_tasks(body: Callable[[list["asyncio.Task[None]"]], None]) -> list[int]:
    """Runs a body with twenty connections; returns which of them were ended."""

    async def run() -> list[int]:
        tasks = [asyncio.create_task(asyncio.sleep(60)) for _ in range(20)]
        body(tasks)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ended = [place for place, task in enumerate(tasks) if task.cancelled()]
        for task in tasks:
            task.cancel()
        return ended

    return asyncio.run(run())


def test_the_oldest_of_whoever_has_most_is_ended() -> None:
    def body(tasks: list["asyncio.Task[None]"]) -> None:
        pool = Pool(total=5, per_owner=4)
        for place, owner in enumerate("abaab"):
            assert not pool.add(owner, tasks[place])
        assert pool.add("c", tasks[5]) and len(pool) == 5  # a has three: its first goes
        assert pool.add("c", tasks[6])  # a and b have two each, and a came first
        assert pool.add("c", tasks[7]) and len(pool) == 5  # b and c have two each

    assert with_tasks(body) == [0, 1, 2]


def test_an_owner_with_its_share_loses_its_own_oldest() -> None:
    def body(tasks: list["asyncio.Task[None]"]) -> None:
        pool = Pool(total=100, per_owner=2)
        for place in (0, 1):
            assert not pool.add("a", tasks[place])
        assert not pool.add("b", tasks[2])
        assert not pool.add("a", tasks[0])  # it asked again, and is the newest now
        assert pool.add("a", tasks[3])

    assert with_tasks(body) == [1]


def test_known_owners_are_spared_while_there_are_others() -> None:
    known = Recent(2)
    known.see("node")

    def body(tasks: list["asyncio.Task[None]"]) -> None:
        pool = Pool(total=3, per_owner=3)
        for place, owner in enumerate(("node", "node", "x")):
            pool.add(owner, tasks[place])
        for place in (3, 4, 5):
            assert pool.add(f"x{place}", tasks[place], known)
        pool.remove("x5", tasks[5])
        pool.add("node", tasks[6], known)
        assert pool.add("x", tasks[7], known)  # only the node's are left

    assert with_tasks(body) == [0, 2, 3, 4]


def test_only_the_last_owners_are_known() -> None:
    known = Recent(2)
    for owner in ("a", "b", "a", "c"):
        known.see(owner)
    assert ("a" in known, "b" in known, "c" in known) == (True, False, True)


def test_a_removed_connection_is_not_ended_and_leaves_nothing() -> None:
    def body(tasks: list["asyncio.Task[None]"]) -> None:
        pool = Pool(total=1, per_owner=1)
        for task in tasks:
            assert not pool.add("a", task)
            pool.remove("b", task)  # not its owner
            pool.remove("a", task)
            pool.remove("a", task)
        assert len(pool) == 0 and not pool._owners

    assert with_tasks(body) == []


def test_a_rate_is_counted_by_owner_and_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    rate = Rate(2)
    assert [rate.allows(owner) for owner in "aabab"] == [True, True, True, False, True]
    now[0] = 11.0
    assert rate.allows("a")


def test_bodies_of_one_node_wait_for_each_other_and_for_nobody_else() -> None:
    async def run() -> list[str]:
        bodies, order = Bodies(most=100, free=10), list[str]()

        async def passing(name: str, node: str, length: int) -> None:
            async with bodies.passing(node, length):
                order.append(f"+{name}")
                await asyncio.sleep(0.01)
            order.append(f"-{name}")

        wanted = [("first", "a", 60), ("second", "a", 60), ("small", "a", 10), ("other", "b", 100), ("third", "a", 40)]
        tasks = [asyncio.create_task(passing(*one)) for one in wanted]
        await asyncio.sleep(0)
        lost = asyncio.create_task(passing("lost", "a", 100))
        await asyncio.sleep(0)
        lost.cancel()
        await asyncio.gather(*tasks)
        with contextlib.suppress(asyncio.CancelledError):
            await lost
        assert not bodies._bytes
        return order

    order = asyncio.run(run())
    assert {"+first", "+small", "+other", "+third"} == set(order[:4])  # 60 and 40 are 100
    assert order.index("+second") > order.index("-first") and "+lost" not in order


def test_events_are_reported_at_once_and_then_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = [0.0], list[str]()
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    events = Events(said.append)
    for second in range(1, 121):
        now[0] = float(second)
        events.count("slow", "192.0.2.1")
        events.count("large", "192.0.2.2")
    assert len(said) == 4
    assert said[0].endswith("gateway: slow (192.0.2.1)")
    assert said[2].endswith("gateway: slow (192.0.2.1; 59 more before)")


def test_ipv6_counts_by_network_and_mapped_addresses_as_ipv4() -> None:
    assert owner_of("2001:db8:0:1::1") == owner_of("2001:db8:0:1:ffff::2") != owner_of("2001:db8:0:2::1")
    assert owner_of("::ffff:192.0.2.7") == owner_of("192.0.2.7") != owner_of("192.0.2.8")
    assert owner_of("fe80::1%eth0") == "fe80::/64"


@pytest.mark.parametrize("descriptors", [0, 64, 120, 1024, 20000])
def test_limits_need_fewer_descriptors_than_there_are(descriptors: int) -> None:
    """A stranger needs one; a node one, and one to the SuperLink."""
    limits = Limits().within(descriptors)
    assert min(limits.strangers, limits.nodes) >= 4
    assert limits.strangers + 2 * limits.nodes <= max(descriptors - 40, 12)
    assert limits.behind_a_proxy() == replace(
        limits, strangers_per_address=limits.strangers, new_per_second=2**31, per_node=max(limits.nodes, 32)
    )


@pytest.mark.parametrize("wrong", [{"nodes": 0}, {"per_node": 1.5}, {"idle_seconds": -1.0}, {"strangers": True}])
def test_an_invalid_limit_is_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)  # type: ignore[arg-type]


def test_the_documented_limits_are_the_defaults() -> None:
    page = (Path(__file__).parents[3] / "docs" / "deployment.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", page.partition("| key of `limits`")[2].partition("\n\n")[0], re.M)
    assert {name: float(value) for name, value in rows} == asdict(Limits())
