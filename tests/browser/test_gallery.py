"""Several photos at once, a service that is busy, one that asks for a key, and the camera."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Request, expect

from app.http.keys import hash_of
from app.main import create_app
from app.settings import Settings
from model_store.detector import Detector
from model_store.engine_choice import SkippedEngine
from tests.app.fakes import CARD, FixedEngine, HeldEngine, app_with
from tests.app.wire import serving
from tests.browser.tab import EXAMPLES, Tab, answer_of

pytestmark = pytest.mark.browser
PHOTOS = [EXAMPLES / f"dice-{number}.jpg" for number in (1, 4, 5)]


def test_several_photos_are_a_gallery_with_counts(tab: Tab, service: str, broken: Path) -> None:
    tab.detected(*PHOTOS, broken)
    gallery = tab.page.get_by_role("region", name="Your photos")
    for photo in PHOTOS:
        count = len(answer_of(service, photo)["detections"])
        expect(gallery.get_by_role("button", name=f"{photo.name}: {count} objects")).to_be_visible()
    expect(gallery.get_by_role("button", name="broken.jpg: failed: ")).to_be_visible()
    tab.forgive(422)
    expect(tab.find("#photo-name")).to_have_text("dice-1.jpg")
    gallery.get_by_role("button", name="dice-4.jpg").click()
    expect(tab.find("#photo-name")).to_have_text("dice-4.jpg")
    tab.page.keyboard.press("ArrowRight")
    tab.page.keyboard.press("Enter")
    expect(tab.find("#photo-name")).to_have_text("dice-5.jpg")
    expect(gallery.locator("[aria-current=true]")).to_have_accessible_name(
        f"dice-5.jpg: {len(answer_of(service, PHOTOS[2])['detections'])} objects"
    )
    tab.page.get_by_label("Score above").press("End")
    expect(gallery.get_by_role("button", name="dice-1.jpg: 0 objects")).to_be_visible()
    assert tab.asked == [f"{service}detect?score_threshold=0"] * 4


def test_a_busy_service_is_asked_again_when_it_says(open_tab: Callable[..., Tab]) -> None:
    engine = HeldEngine()
    try:
        with serving(app_with(engine, queue_size=0)) as port:
            tab = open_tab(f"http://127.0.0.1:{port}/")
            tab.choose(*PHOTOS[:2])
            busy = tab.find("#gallery button[aria-label*='busy']")
            expect(busy).to_have_count(1)
            engine.release.set()
            expect(tab.find("#gallery [data-state=done]")).to_have_count(2)
            tab.forgive(503)
            assert len(tab.asked) > 2
    finally:
        engine.release.set()


def test_a_service_with_keys_asks_for_one(open_tab: Callable[..., Tab], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"visitor detect {hash_of('rs_right')}\n")
    with serving(app_with(FixedEngine(), api_keys_file=keys)) as port:
        tab = open_tab(f"http://127.0.0.1:{port}/")
        field = tab.page.get_by_label("API key")
        expect(field).to_be_focused()
        expect(tab.find("#key-words")).to_contain_text("an API key with the scope detect is required")
        tab.page.keyboard.type("rs_wrong")
        tab.page.keyboard.press("Enter")
        expect(tab.find("#key-words")).to_contain_text("the API key is unknown")
        field.fill("rs_right")
        tab.page.keyboard.press("Enter")
        expect(tab.find("#model")).to_have_text("fruit 3 · fixed · cpu")
        expect(field).to_be_hidden()
        tab.detected(PHOTOS[0])
        expect(tab.find("#objects tr")).to_have_count(2)
        expect(tab.find("#examples")).to_be_hidden()  # there are none for this model
        expect(tab.find("#curl")).to_contain_text('-H "Authorization: Bearer $KEY"')
        assert not any("rs_" in request.url for request in tab.requests)
        assert "rs_" not in tab.page.content()
        tab.page.reload()
        expect(tab.find("#model")).to_have_text("fruit 3 · fixed · cpu")
        tab.forgive(401)


def test_the_page_names_the_engines_that_do_not_run(open_tab: Callable[..., Tab]) -> None:
    skipped = (SkippedEngine("openvino-int8", "the graphs cannot be used"),)
    app = create_app(Settings(), open_detector=lambda *_, **__: Detector(CARD, FixedEngine(), skipped))
    with serving(app) as port:
        model = open_tab(f"http://127.0.0.1:{port}/").find("#model")
        expect(model).to_have_text("fruit 3 · fixed · cpu · without openvino-int8")
        expect(model).to_have_attribute("title", "openvino-int8: the graphs cannot be used")


def test_the_camera_is_looked_through_one_frame_at_a_time(tab: Tab, service: str) -> None:
    flying, most, done = set(), [0], [0]

    def left(request: Request) -> None:
        if request.method == "POST":
            flying.add(request)
            most[0] = max(most[0], len(flying))

    def came(request: Request) -> None:
        flying.discard(request)
        done[0] += request.method == "POST"

    tab.page.on("request", left)
    tab.page.on("requestfinished", came)
    tab.page.get_by_role("button", name="Live camera").click()
    expect(tab.find("#video")).to_be_visible()
    for _ in range(200):
        if done[0] >= 4:
            break
        tab.page.wait_for_timeout(100)
    assert done[0] >= 4
    assert most == [1]
    expect(tab.find("#timing")).to_contain_text("640 × 480 px · answered in")
    expect(tab.find("#take-away")).to_be_hidden()
    tab.page.get_by_role("button", name="Keep this picture").click()
    expect(tab.find("#video")).to_be_hidden()
    expect(tab.find("#photo-name")).to_contain_text("camera-20")
    expect(tab.find("#take-away")).to_be_visible()
    tab.page.wait_for_timeout(500)
    after = len(tab.asked)
    tab.page.wait_for_timeout(1000)
    assert len(tab.asked) == after
