"""Both clients behind one face, so that each test asks both."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rendersight import AsyncClient, Client
from rendersight.client.retries import Timing


class Asleep:
    """Time that passes only in pauses; chance is always a half."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.timing = Timing(clock=lambda: sum(self.pauses), chance=lambda: 0.5)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def sleep_async(self, seconds: float) -> None:
        self.pauses.append(seconds)


class Awaited:
    """An `AsyncClient` whose calls block."""

    def __init__(self, runner: asyncio.Runner, client: AsyncClient) -> None:
        self._runner, self._client = runner, client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            called = getattr(self._client, name)(*arguments, **keywords)
            return self._runner.run(called) if inspect.isawaitable(called) else self._steps(called)

        return call

    def _steps(self, generator: Any) -> Iterator[Any]:
        try:
            while True:
                yield self._runner.run(anext(generator))
        except StopAsyncIteration:
            return
        finally:
            self._runner.run(generator.aclose())


@pytest.fixture(params=["Client", "AsyncClient"])
def client_of(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Return what makes a client of a URL; `asleep` gives it time that passes only in pauses."""
    with asyncio.Runner() as runner:
        made: list[Any] = []

        def make(url: str, *, asleep: Asleep | None = None, **options: Any) -> Any:
            if request.param == "Client":
                if asleep is not None:
                    options.update(timing=asleep.timing, sleep=asleep.sleep)
                made.append(Client(url, **options))
                return made[-1]
            if asleep is not None:
                options.update(timing=asleep.timing, sleep=asleep.sleep_async)
            made.append(AsyncClient(url, **options))
            return Awaited(runner, made[-1])

        yield make
        for client in made:
            if isinstance(client, Client):
                client.close()
            else:
                runner.run(client.aclose())


@pytest.fixture
def asleep() -> Asleep:
    return Asleep()
