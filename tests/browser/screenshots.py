"""Take pictures of the page: `python -m tests.browser.screenshots FOLDER`; `page.png` is the README's."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, ViewportSize, expect

from app.main import create_app
from app.settings import Settings
from tests.app.wire import serving
from tests.browser.chromium import chromium

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("dice-*.jpg"))
DESKTOP: ViewportSize = {"width": 1280, "height": 860}
README: ViewportSize = {"width": 1280, "height": 990}
PHONE: ViewportSize = {"width": 375, "height": 812}


def take_all(browser: Browser, address: str, folder: Path) -> None:
    """Write a picture of each state of the page."""

    def opened(viewport: ViewportSize, scheme: str = "light") -> Page:
        dark = scheme == "dark"
        page = browser.new_page(
            viewport=viewport, color_scheme="dark" if dark else "light", has_touch=viewport is PHONE
        )
        page.goto(address)
        page.locator("#examples img").first.wait_for()
        return page

    def shoot(page: Page, name: str, *, full: bool = False) -> None:
        page.wait_for_timeout(700)
        page.screenshot(path=folder / f"{name}.png", full_page=full)
        page.close()

    def detected(page: Page, *photos: Path) -> Page:
        page.locator("#choose").set_input_files(photos)
        page.locator("#found").wait_for()
        for state in ("waiting", "asking"):
            expect(page.locator(f'#gallery [data-state="{state}"]')).to_have_count(0, timeout=60_000)
        return page

    shoot(opened(DESKTOP), "start")
    shoot(opened(DESKTOP, "dark"), "start-dark")
    shoot(opened(PHONE), "start-phone")
    calm = detected(opened(README), EXAMPLES[0])
    calm.locator("#clear").click()
    shoot(detected(calm, EXAMPLES[0]), "page")  # the first photo of a service takes longer
    lit = detected(opened(DESKTOP, "dark"), EXAMPLES[1])
    lit.locator("#objects tr").nth(2).hover()
    shoot(lit, "page-dark")
    shoot(detected(opened(PHONE), EXAMPLES[1]), "page-phone", full=True)
    shoot(detected(opened(PHONE, "dark"), EXAMPLES[2]), "page-phone-dark", full=True)
    broken = folder / "broken.jpg"
    broken.write_bytes(EXAMPLES[0].read_bytes()[:3000])
    shoot(detected(opened(DESKTOP), *EXAMPLES, broken), "gallery")
    failed = opened(DESKTOP)
    failed.locator("#choose").set_input_files(broken)
    failed.locator("#problem strong").wait_for()
    shoot(failed, "error")
    camera = opened(DESKTOP)
    camera.locator("#live").click()
    camera.locator("#found").wait_for()
    shoot(camera, "camera")
    broken.unlink()


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory() as cache,
        serving(create_app(Settings(cache_dir=Path(cache))), start_timeout_s=100) as port,
        chromium() as browser,
    ):
        take_all(browser, f"http://127.0.0.1:{port}/", folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
