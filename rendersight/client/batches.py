"""Concurrent calls with results in order, started only a little ahead of the caller."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from rendersight.client.errors import WrongSetting

Item = TypeVar("Item")
Result = TypeVar("Result")

CONCURRENCY = 4
MOST_CONCURRENCY = 100  # the number of connections that httpx keeps for one client

_MODES = ("raise", "return")


def check_batch(concurrency: int, errors: str) -> None:
    """Check the arguments of `detect_many`.

    Raises:
        WrongSetting: an argument cannot be used; the message names it and the accepted values.
    """
    if not 1 <= concurrency <= MOST_CONCURRENCY:
        raise WrongSetting(f"concurrency={concurrency} is not accepted; accepted: 1 to {MOST_CONCURRENCY}")
    if errors not in _MODES:
        raise WrongSetting(f"errors={errors!r} is not accepted; accepted: {', '.join(_MODES)}")


def in_order(items: Iterable[Item], ask: Callable[[Item], Result], *, concurrency: int) -> Iterator[Result]:
    """Yield the function's result for each item, in order; at most `concurrency` calls run at once, each on a thread.

    If the caller stops early or a call fails, no new call starts, and those under way are awaited.
    """
    source = iter(items)
    with ThreadPoolExecutor(concurrency, "rendersight") as pool:
        ahead: deque[Future[Result]] = deque()
        try:
            while True:
                ahead.extend(pool.submit(ask, item) for item in islice(source, _room(concurrency, ahead)))
                if not ahead:
                    return
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


async def in_order_async(
    items: Iterable[Item], ask: Callable[[Item], Awaitable[Result]], *, concurrency: int
) -> AsyncIterator[Result]:
    """Yield results as `in_order` does, for coroutines; if the caller stops early, cancel the calls under way."""
    source = iter(items)
    places = asyncio.Semaphore(concurrency)

    async def in_its_place(item: Item) -> Result:
        async with places:
            return await ask(item)

    ahead: deque[asyncio.Task[Result]] = deque()
    try:
        while True:
            ahead.extend(asyncio.create_task(in_its_place(item)) for item in islice(source, _room(concurrency, ahead)))
            if not ahead:
                return
            yield await ahead.popleft()
    finally:
        for task in ahead:
            task.cancel()
        await asyncio.gather(*ahead, return_exceptions=True)


def _room(concurrency: int, ahead: Sized) -> int:
    """Return how many more items may be taken; one slow call at the head does not leave the other places idle."""
    return 2 * concurrency - len(ahead)
