"""A photo in, boxes over it."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.tab import EXAMPLES, Tab, answer_of, as_rows

pytestmark = pytest.mark.browser
PHOTO = EXAMPLES / "dice-1.jpg"


def assert_boxes_fit(tab: Tab, answer: dict[str, Any]) -> None:
    """Each box on the screen is where the answer has it in the photo, to half a pixel."""
    photo = tab.find("#photo").bounding_box()
    assert photo
    scale = photo["width"] / answer["image"]["width"]
    assert photo["height"] / answer["image"]["height"] == pytest.approx(scale, rel=0.01)
    drawn = [box.bounding_box() for box in tab.find("#boxes .box").all()]
    found = [
        (
            round(box["x"] - photo["x"]),
            round(box["y"] - photo["y"]),
            round(box["x"] + box["width"] - photo["x"]),
            round(box["y"] + box["height"] - photo["y"]),
        )
        for box in drawn
        if box
    ]
    expected = [tuple(value * scale for value in one["box"]) for one in answer["detections"]]
    assert len(found) == len(expected) > 0
    for one, other in zip(sorted(found), sorted(expected), strict=True):
        assert one == pytest.approx(other, abs=1)


def test_a_chosen_photo_gets_its_boxes(tab: Tab, service: str) -> None:
    tab.detected(PHOTO)
    answer = answer_of(service, PHOTO)
    assert len(answer["detections"]) >= 5
    assert tab.rows == as_rows(answer["detections"])
    assert_boxes_fit(tab, answer)
    expect(tab.find("#summary")).to_have_text(f"{len(answer['detections'])} objects")
    expect(tab.find("#said")).to_contain_text(f"dice-1.jpg: {len(answer['detections'])} objects above 0.653. ")
    expect(tab.find("#timing")).to_contain_text("640 × 640 px · answered in ")
    assert all(stage in tab.find("#timing").inner_text() for stage in ("queue", "decode", "inference", "encode"))


def test_an_example_is_found_by_keyboard_alone(tab: Tab, service: str) -> None:
    second = tab.page.get_by_role("button", name="Example 2")
    expect(second).to_be_visible()
    for _ in range(12):
        tab.page.keyboard.press("Tab")
        if second.evaluate("one => one === document.activeElement"):
            break
    tab.page.keyboard.press("Enter")
    expect(tab.find("#found")).to_be_visible()
    assert tab.rows == as_rows(answer_of(service, EXAMPLES / "dice-2.jpg")["detections"])
    expect(tab.find("#credit")).to_have_text("The examples are renders, not photos.")


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_photos_are_dropped_and_pasted(tab: Tab, event: str) -> None:
    tab.page.evaluate(
        """([event, bytes]) => {
            const data = new DataTransfer();
            const photo = Uint8Array.from(atob(bytes), (one) => one.charCodeAt(0));
            data.items.add(new File([photo], "brought.jpg", { type: "image/jpeg" }));
            const made = event === "drop" ? new DragEvent(event, { dataTransfer: data, bubbles: true })
                : new ClipboardEvent(event, { clipboardData: data, bubbles: true });
            document.body.dispatchEvent(made);
        }""",
        [event, base64.b64encode(PHOTO.read_bytes()).decode()],
    )
    expect(tab.find("#found")).to_be_visible()
    expect(tab.find("#photo-name")).to_have_text("brought.jpg")


def turned(path: Path) -> None:
    """Save a photo as a camera does that was held on its side: the pixels lie, and EXIF says how to turn them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(PHOTO) as photo:
        photo.crop((100, 60, 600, 640)).rotate(90, expand=True).save(path, exif=exif, quality=95)


def saved_as_tiff(path: Path) -> None:
    with Image.open(PHOTO) as photo:
        photo.crop((100, 60, 600, 640)).save(path)


@pytest.mark.parametrize(("name", "make"), [("turned.jpg", turned), ("shown.tiff", saved_as_tiff)])
def test_boxes_fit_photos_that_lie_or_that_browsers_cannot_show(
    tab: Tab, service: str, tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    make(tmp_path / name)
    tab.detected(tmp_path / name)
    answer = answer_of(service, tmp_path / name)
    assert answer["image"] == {"width": 500, "height": 580}
    expect(tab.find("#photo")).to_be_visible()
    assert tab.find("#photo").evaluate("one => [one.naturalWidth, one.naturalHeight]") == [500, 580]
    assert_boxes_fit(tab, answer)


def test_what_the_service_refuses_is_told_in_its_words(tab: Tab, broken: Path) -> None:
    with tab.page.expect_response("**/detect?**") as answered:
        tab.choose(broken)
    problem = answered.value.json()
    alert = tab.page.get_by_role("alert").filter(has_text=problem["title"])
    expect(alert).to_contain_text(problem["detail"])
    expect(alert).to_contain_text(answered.value.headers["x-request-id"])
    expect(tab.find("#found")).to_be_hidden()
    expect(alert.get_by_role("button")).to_have_count(0)  # the same file would be refused again
    tab.forgive(422)
    tab.detected(PHOTO)
    expect(alert).to_be_hidden()


def test_a_service_that_is_gone_is_told_and_asked_again(tab: Tab) -> None:
    tab.page.wait_for_load_state("networkidle")
    tab.page.context.set_offline(True)
    tab.choose(PHOTO)
    alert = tab.page.get_by_role("alert").filter(has_text="No answer")
    expect(alert).to_be_visible()
    assert tab.complaints == ["Failed to load resource: net::ERR_INTERNET_DISCONNECTED"]
    tab.complaints.clear()
    tab.page.context.set_offline(False)
    alert.get_by_role("button", name="Try again").click()
    expect(tab.find("#found")).to_be_visible()
    expect(alert).to_be_hidden()
    assert len(tab.asked) == 2


def test_starting_over_leaves_nothing(tab: Tab) -> None:
    tab.detected(PHOTO)
    tab.page.get_by_role("button", name="Start over").click()
    expect(tab.find("#work")).to_be_hidden()
    expect(tab.page.get_by_role("heading", name="What is in your photo?")).to_be_visible()
