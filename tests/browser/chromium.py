"""Debian's Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

_INSTALL = "no chromium in PATH; install it: apt-get update && apt-get install -y --no-install-recommends chromium"
_ARGUMENTS = [
    "--no-sandbox",  # containers and CI run as root
    "--disable-gpu",
    # it talks to the page alone
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # a camera that shows a moving pattern, and gives it unasked
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium without a window.

    Raises:
        FileNotFoundError: there is none; the message tells how to install it.
    """
    path = shutil.which("chromium")
    if path is None:
        raise FileNotFoundError(_INSTALL)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()
