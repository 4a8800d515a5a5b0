"""The page on a phone, in the dark, and for whoever does not see it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.tab import EXAMPLES, Tab

pytestmark = pytest.mark.browser
PHONE = {"viewport": {"width": 375, "height": 700}, "has_touch": True, "is_mobile": True}
DARK = {"color_scheme": "dark"}


def begin(tab: Tab, broken: Path) -> None:
    expect(tab.find("#examples")).to_be_visible()


def detect(tab: Tab, broken: Path) -> None:
    tab.detected(EXAMPLES / "dice-2.jpg")
    tab.find("#classes label").first.click()


def fill_gallery(tab: Tab, broken: Path) -> None:
    tab.choose(broken, *EXAMPLES.glob("dice-*.jpg"))
    expect(tab.find("#problem")).to_be_visible()
    expect(tab.find("#gallery [data-state=done]")).to_have_count(5)
    tab.forgive(422)


STATES = [begin, detect, fill_gallery]


@pytest.mark.parametrize("look", [{}, DARK, PHONE, PHONE | DARK], ids=["light", "dark", "phone", "dark phone"])
@pytest.mark.parametrize("reach", STATES)
def test_axe_finds_nothing_wrong(
    open_tab: Callable[..., Tab], service: str, broken: Path, look: dict[str, Any], reach: Callable[..., None]
) -> None:
    tab = open_tab(service, **look)
    reach(tab, broken)
    found = Axe().run(tab.page).response
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]] == []
    assert len(found["passes"]) > 15


@pytest.mark.parametrize("reach", STATES)
def test_a_phone_scrolls_one_way_and_is_touched_with_a_thumb(
    open_tab: Callable[..., Tab], service: str, broken: Path, reach: Callable[..., None]
) -> None:
    tab = open_tab(service, **PHONE)
    reach(tab, broken)
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 375
    touched = [
        box
        for one in tab.find("button, .button, .chip, input[type=range]").all()
        if one.is_visible() and (box := one.bounding_box())
    ]
    assert len(touched) >= 8
    assert min(box["height"] for box in touched) >= 32
    assert min(box["width"] for box in touched) >= 44


def test_a_phone_offers_its_camera(open_tab: Callable[..., Tab], service: str, tab: Tab) -> None:
    phone = open_tab(service, **PHONE)
    expect(phone.find("#take")).to_be_visible()
    phone.find("#photograph").set_input_files(EXAMPLES / "dice-1.jpg")
    expect(phone.find("#found")).to_be_visible()
    expect(tab.find("#take")).to_be_hidden()  # on a desktop it would be what choosing is


def test_the_system_chooses_light_or_dark(open_tab: Callable[..., Tab], service: str) -> None:
    def paper(**look: Any) -> str:
        return str(open_tab(service, **look).page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert paper() == "rgb(244, 245, 248)"
    assert paper(**DARK) == "rgb(14, 16, 20)"


def test_nothing_moves_where_motion_is_unwanted(open_tab: Callable[..., Tab], service: str) -> None:
    tab = open_tab(service, reduced_motion="reduce")
    tab.detected(EXAMPLES / "dice-1.jpg")
    assert tab.find(".box").first.evaluate("one => getComputedStyle(one).transitionDuration") == "0s"
