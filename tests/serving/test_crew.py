"""The threads behind the ASGI wrapper: each order is done once, and none holds up the loop."""

import asyncio
import threading
import time

import pytest

from a360runtime.serving.crew import Crew


def test_orders_are_done_each_with_its_own_result() -> None:
    crew: Crew[int, int] = Crew(lambda number: number * 2, 4)

    async def run() -> list[int]:
        found = []
        for size in (1, 1, 50, 3, 200):
            found += await asyncio.gather(*(crew.submit(number) for number in range(size)))
        return found

    assert asyncio.run(run()) == [n * 2 for size in (1, 1, 50, 3, 200) for n in range(size)]


def test_a_slow_order_holds_up_neither_the_loop_nor_other_orders() -> None:
    release, started = threading.Event(), threading.Event()

    def work(order: str) -> str:
        if order == "slow":
            started.set()
            assert release.wait(30)
        return order

    crew: Crew[str, str] = Crew(work, 4)

    async def run() -> None:
        slow = crew.submit("slow")
        beside = crew.submit("beside it")  # in the same turn of the loop
        assert await asyncio.wait_for(beside, 5) == "beside it"
        assert started.is_set()
        longest = 0.0
        for number in range(50):
            before = time.perf_counter()
            assert await asyncio.wait_for(crew.submit(str(number)), 5) == str(number)
            longest = max(longest, time.perf_counter() - before)
        assert not slow.done()
        release.set()
        assert await slow == "slow"

    asyncio.run(run())


def test_slow_orders_of_one_turn_are_done_side_by_side() -> None:
    together = threading.Barrier(6)

    def work(order: int) -> int:
        return together.wait(30) and order

    crew: Crew[int, int] = Crew(work, 6)

    async def run() -> None:
        for _ in range(5):  # the first time it is not known yet that they are slow
            await asyncio.wait_for(asyncio.gather(*(crew.submit(number) for number in range(6))), 20)

    asyncio.run(run())


def test_more_slow_orders_than_threads_wait_for_their_turn() -> None:
    lock, running, most = threading.Lock(), 0, 0

    def work(order: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return order

    crew: Crew[int, int] = Crew(work, 3)

    async def run() -> list[int]:
        return list(await asyncio.gather(*(crew.submit(number) for number in range(12))))

    assert asyncio.run(run()) == list(range(12))
    assert most <= 3


def test_what_an_order_raises_is_raised_to_who_gave_it() -> None:
    def work(order: int) -> int:
        return 1 // order

    crew: Crew[int, int] = Crew(work, 2)

    async def run() -> None:
        good, bad = crew.submit(1), crew.submit(0)
        assert await good == 1
        with pytest.raises(ZeroDivisionError):
            await bad

    asyncio.run(run())
