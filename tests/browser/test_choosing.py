"""What of an answer is shown is chosen in the page, and taken along as it is shown."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from rendersight.annotations.formats import labelme
from rendersight.drawing import class_colour
from tests.browser.tab import EXAMPLES, Tab, answer_of, as_rows

pytestmark = pytest.mark.browser
PHOTO = EXAMPLES / "dice-2.jpg"


def test_the_slider_filters_without_another_request(tab: Tab, service: str) -> None:
    tab.detected(PHOTO)
    slider = tab.page.get_by_label("Score above")
    slider.focus()
    seen = []
    for key, threshold in (("Home", 0.05), ("ArrowRight", 0.06), ("End", 1), ("ArrowLeft", 0.99), ("PageDown", None)):
        tab.page.keyboard.press(key)
        value = float(slider.input_value())
        assert threshold in (None, value)
        expect(tab.find("#threshold-value")).to_have_text(f"{value:g}")
        assert tab.rows == as_rows(answer_of(service, PHOTO, score_threshold=value)["detections"])
        seen.append(len(tab.rows))
    assert seen[0] > seen[1] > seen[4] > seen[3] > seen[2] == 0
    assert tab.asked == [f"{service}detect?score_threshold=0"]


def test_another_choice_of_tiles_sends_the_photos_again(tab: Tab, service: str) -> None:
    tab.detected(PHOTO)
    tab.page.get_by_label("Small objects").select_option("up to 4 tiles")
    expect(tab.find("#timing")).to_contain_text(" 4 tiles · answered in")
    expect(tab.find("#curl")).to_contain_text("&tiles=4'")
    assert tab.asked == [f"{service}detect?score_threshold=0", f"{service}detect?score_threshold=0&tiles=4"]
    assert tab.rows == as_rows(answer_of(service, PHOTO, tiles=4)["detections"])


def test_where_nothing_is_left_the_page_says_what_there_would_be(tab: Tab, service: str) -> None:
    best = answer_of(service, PHOTO)["detections"][0]
    tab.detected(PHOTO)
    tab.page.get_by_label("Score above").press("End")
    expect(tab.find("#summary")).to_have_text("0 objects")
    expect(tab.find("#nothing")).to_have_text(f"The highest score is {best['score']:.2f} (class {best['label']}).")
    expect(tab.find("#boxes .box")).to_have_count(0)


def test_the_recommended_threshold_is_marked_and_one_click_away(tab: Tab) -> None:
    tab.detected(PHOTO)
    slider, reset = tab.page.get_by_label("Score above"), tab.page.get_by_role("button", name="Recommended: 0.653")
    expect(reset).to_be_disabled()
    expect(tab.find("#threshold-value")).to_have_text("0.653")
    count = len(tab.rows)
    slider.press("Home")
    mark, track = tab.find("#recommended").bounding_box(), slider.bounding_box()
    assert mark
    assert track
    tab.page.mouse.click(mark["x"] + mark["width"] / 2, track["y"] + track["height"] / 2)
    assert float(slider.input_value()) == pytest.approx(0.653, abs=0.011)
    reset.click()
    expect(tab.find("#threshold-value")).to_have_text("0.653")
    assert len(tab.rows) == count


def test_classes_are_switched_off_and_keep_their_count(tab: Tab, service: str) -> None:
    tab.detected(PHOTO)
    found = answer_of(service, PHOTO)["detections"]
    fives = tab.page.get_by_role("checkbox", name="five")
    count = sum(one["label"] == "five" for one in found)
    assert count > 0
    chip = tab.find("#classes label").filter(has_text="five")
    expect(chip).to_have_text(f"five{count}")
    fives.focus()
    tab.page.keyboard.press("Space")
    expect(fives).not_to_be_checked()
    expect(fives).to_be_focused()
    assert tab.rows == as_rows([one for one in found if one["label"] != "five"])
    expect(chip).to_have_text(f"five{count}")
    expect(tab.find("#curl")).to_contain_text("&labels=one&labels=two&labels=three&labels=four&labels=six'")
    chip.click()
    assert tab.rows == as_rows(found)
    expect(tab.find("#curl")).not_to_contain_text("labels")


def test_with_every_class_off_there_is_nothing_to_take_along(tab: Tab) -> None:
    tab.detected(PHOTO)
    for chip in tab.find("#classes label").all():
        chip.click()
    assert tab.rows == []
    expect(tab.find("#take-away")).to_be_hidden()


def overlaps_another(item: dict[str, Any], found: Sequence[dict[str, Any]]) -> bool:
    x0, y0, x1, y1 = item["box"]
    others = [other["box"] for other in found if other is not item]
    return any(x0 < right and left < x1 and y0 < bottom and top < y1 for left, top, right, bottom in others)


def test_pointing_at_a_row_lights_its_box_and_the_other_way_round(tab: Tab, service: str) -> None:
    tab.detected(PHOTO)
    found = answer_of(service, PHOTO)["detections"]
    row, alone = next((row, item) for row, item in enumerate(found) if not overlaps_another(item, found))
    lit_row, lit_box = tab.find("#objects tr.lit"), tab.find("#boxes .box.lit")
    expect(lit_box).to_have_count(0)
    tab.find("#objects tr").nth(row).hover()
    expect(lit_box).to_have_text(f"{alone['label']} {alone['score']:.2f}")
    place = lit_box.bounding_box()
    assert place
    tab.page.mouse.move(5, 5)
    expect(lit_box).to_have_count(0)
    tab.page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] - 5)
    expect(lit_row.locator("td").last).to_have_text(", ".join(f"{value:.0f}" for value in alone["box"]))


def test_the_list_is_one_stop_of_the_tab_key_and_arrows_move_in_it(tab: Tab) -> None:
    tab.detected(PHOTO)
    buttons = tab.find("#objects button")
    buttons.first.focus()
    tab.page.keyboard.press("ArrowDown")
    expect(buttons.nth(1)).to_be_focused()
    expect(tab.find("#boxes .box.lit")).to_have_attribute("data-index", "1")
    tab.page.keyboard.press("Enter")
    expect(buttons.nth(1)).to_have_attribute("aria-pressed", "true")
    tab.page.keyboard.press("Tab")
    expect(tab.page.get_by_role("button", name="Download JSON")).to_be_focused()
    expect(tab.find("#boxes .box.lit")).to_have_attribute("data-index", "1")  # it was pressed


def saved(tab: Tab, name: str, folder: Path) -> Path:
    with tab.page.expect_download() as download:
        tab.page.get_by_role("button", name=f"Download {name}").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_what_is_shown_is_what_is_downloaded(tab: Tab, service: str, tmp_path: Path) -> None:
    tab.detected(PHOTO)
    tab.find("#classes label").filter(has_text="five").click()
    tab.page.get_by_label("Score above").press("ArrowLeft")
    others = ["one", "two", "three", "four", "six"]
    expected = answer_of(service, PHOTO, score_threshold=0.64, labels=others)
    answer = saved(tab, "JSON", tmp_path)
    assert answer.name == "dice-2.detections.json"
    assert json.loads(answer.read_text()) == expected
    assert tab.rows == as_rows(expected["detections"])
    annotated = saved(tab, "LabelMe", tmp_path)
    assert annotated.name == "dice-2.json"
    document = labelme.parse(annotated.read_text())
    assert document.image_path == PHOTO.name
    assert [shape.label for shape in document.shapes] == [one["label"] for one in expected["detections"]]
    picture = saved(tab, "Picture", tmp_path)
    assert picture.name == "dice-2.boxes.png"
    with Image.open(picture) as drawn:
        assert (drawn.format, drawn.size) == ("PNG", (640, 640))
        colours = {colour for _, colour in drawn.convert("RGB").getcolors(640 * 640) or []}
    assert [class_colour(label) in colours for label in range(1, 7)] == [True, True, True, True, False, True]


@pytest.mark.parametrize("name", ["dice.jpg", """it's; a "photo", 5 $HOME \\ more.jpg""", "Würfel & mehr.jpg"])
def test_the_curl_line_does_what_was_done(tab: Tab, service: str, tmp_path: Path, name: str) -> None:
    photo = shutil.copy(PHOTO, tmp_path / name)
    tab.detected(photo)
    tab.find("#classes label").filter(has_text="five").click()
    line = tab.find("#curl").inner_text()
    done = subprocess.run(["bash", "-c", f"{line} -sS"], cwd=tmp_path, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert answer["score_threshold"] == 0.653
    assert as_rows(answer["detections"]) == tab.rows


def test_the_curl_line_is_copied(tab: Tab) -> None:
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.detected(PHOTO)
    tab.page.get_by_role("button", name="Copy").click()
    expect(tab.page.get_by_role("button", name="Copied")).to_be_visible()
    assert tab.page.evaluate("navigator.clipboard.readText()") == tab.find("#curl").inner_text()


def test_classes_have_the_colours_of_pictures_that_the_service_draws(tab: Tab) -> None:
    colours = tab.page.evaluate(
        "import('/page/colours.js').then((made) => Array.from({ length: 91 }, (_, at) => made.classColour(at + 1)))"
    )
    assert [tuple(colour) for colour in colours] == [class_colour(label) for label in range(1, 92)]
