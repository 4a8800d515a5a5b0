import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from starlette.types import Message

from app.errors import ClientGone
from app.http.disconnect import unless_gone


class Client:
    """A client that stays connected until told to leave."""

    def __init__(self) -> None:
        self.leaves = asyncio.Event()

    async def receive(self) -> Message:
        await self.leaves.wait()
        return {"type": "http.disconnect"}


async def stuck(cancelled: asyncio.Event) -> None:
    try:
        await asyncio.sleep(60)
    finally:
        cancelled.set()


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


def test_returns_the_result_or_raises_the_error_of_the_work() -> None:
    async def test() -> None:
        async def fail() -> None:
            raise ZeroDivisionError

        assert await unless_gone(Client().receive, asyncio.sleep(0, "result")) == "result"
        with pytest.raises(ZeroDivisionError):
            await unless_gone(Client().receive, fail())

    run(test())


def test_cancels_the_work_if_the_client_leaves() -> None:
    async def test() -> None:
        client, cancelled = Client(), asyncio.Event()
        answering = asyncio.create_task(unless_gone(client.receive, stuck(cancelled)))
        await asyncio.sleep(0.01)
        client.leaves.set()
        with pytest.raises(ClientGone):
            await answering
        assert cancelled.is_set()

    run(test())


def test_cancels_the_work_if_it_is_cancelled() -> None:
    async def test() -> None:
        cancelled = asyncio.Event()
        answering = asyncio.create_task(unless_gone(Client().receive, stuck(cancelled)))
        await asyncio.sleep(0.01)
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
        assert cancelled.is_set()

    run(test())
