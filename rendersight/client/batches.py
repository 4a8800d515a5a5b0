"""Many calls at a time, their results in order, only so far ahead of whoever takes them."""

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
MOST_CONCURRENCY = 100  # as many connections as httpx keeps for a client

_MODES = ("raise", "return")


def check_batch(concurrency: int, errors: str) -> None:
    """Refuse arguments of `detect_many` that cannot be used.

    Raises:
        WrongSetting: it names the argument and what is accepted.
    """
    if not 1 <= concurrency <= MOST_CONCURRENCY:
        raise WrongSetting(f"concurrency={concurrency} is not accepted; accepted: 1 to {MOST_CONCURRENCY}")
    if errors not in _MODES:
        raise WrongSetting(f"errors={errors!r} is not accepted; accepted: {', '.join(_MODES)}")


def in_order(items: Iterable[Item], ask: Callable[[Item], Result], *, concurrency: int) -> Iterator[Result]:
    """Yield what a function returns for each item, with so many of its calls at a time, each on a thread.

    Ended early, or by a call that fails, it waits for the calls under way and begins no other.
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
    """Yield as `in_order` what a coroutine function returns; ended early, it cancels the calls under way."""
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
    """Return how many more items may be taken: one slow call at the head does not leave the other places empty."""
    return 2 * concurrency - len(ahead)
