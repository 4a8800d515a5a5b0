"""The service with the embedded model, and a tab of Chromium that shows its page."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Request, expect

from app.main import create_app
from app.settings import Settings
from tests.app.wire import serving
from tests.browser.chromium import chromium
from tests.browser.tab import Tab

expect.set_options(timeout=30_000)  # a machine that is busy with other things answers late


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium, for this folder alone: meanwhile Playwright has an event loop running in the tests' thread."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the service with the release `dice`."""
    app = create_app(Settings(cache_dir=tmp_path_factory.mktemp("cache")))
    with serving(app, start_timeout_s=100) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Opens an address in a new tab; at the end of the test none may have complained."""
    tabs = []

    def opened(address: str, **options: object) -> Tab:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        tab = Tab(context.new_page())
        tabs.append(tab)

        def note(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                tab.complaints.append(message.text)

        def remember(request: Request) -> None:  # Playwright takes no built-in method
            tab.requests.append(request)

        tab.page.on("console", note)
        tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.page.on("request", remember)
        tab.page.set_default_timeout(30_000)
        tab.page.goto(address)
        return tab

    yield opened
    for tab in tabs:
        tab.page.context.close()
    assert [tab.complaints for tab in tabs] == [[]] * len(tabs)


@pytest.fixture
def tab(open_tab: Callable[..., Tab], service: str) -> Tab:
    """The page of the service with `dice`."""
    return open_tab(service)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A photo that was cut off."""
    path = tmp_path / "broken.jpg"
    path.write_bytes((Path(__file__).parents[2] / "examples" / "dice-1.jpg").read_bytes()[:3000])
    return path
