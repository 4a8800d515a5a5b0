import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from tests.training.conftest import write_run
from tests.training.html_tags import tags_of_a_whole_page
from tests.training.truth import NOTHING, ignoring, labelled
from training.config import TrainConfig
from training.data.dataset import LabelledImages
from training.measuring.evaluation import evaluate
from training.records.history import History
from training.reports import report_page

BOX = (0, 0, 50, 50)
NASTY = "<b>&\"six'"


def data(*names: str) -> LabelledImages:
    """Return a photo with a box of each name, and a photo without boxes."""
    found = labelled([(name, BOX) for name in names], [])
    return replace(found, class_names=("cat", NASTY))


def cells(text: str, row: str) -> list[str]:
    """Return the other cells of the table row that starts with `row`."""
    (found,) = re.findall(rf"<tr><td>{re.escape(row)}</td>(.*?)</tr>", text)
    return re.findall("<td>(.*?)</td>", found)


def page_of_run(run: Path, **changes: object) -> str:
    folder = write_run(run, class_names=("cat", NASTY), **changes)
    return report_page.run_page(
        folder, History.read(folder), train=data("cat", "cat", NASTY), hold_out=data("cat"), pictures=folder / "plots"
    )


def test_run_page_shows_figures_data_and_settings(tmp_path: Path) -> None:
    config = TrainConfig(epochs=4, group_by=NASTY)
    text = page_of_run(tmp_path / "<i>run", aps=[0.1, 0.3, 0.2], config=config, dataset="<u>PHOTOS")
    tags = tags_of_a_whole_page(text)
    assert not {"i", "u", "img"} & set(tags)
    for raw in ("<i>", "<u>", "<b>&"):
        assert raw not in text
    assert "<h1>Run &lt;i&gt;run</h1>" in text
    assert "from epoch 2, the best so far" in text
    assert "3 of 4 epochs are done" in text
    assert '<div class="tile"><b>0.300</b>mAP@[.5:.95]</div>' in text
    assert '<div class="tile"><b>0:00:24</b>training time</div>' in text
    assert "<th>best, epoch 2</th><th>epoch 3</th>" in text
    assert cells(text, "mAP@[.5:.95]") == ["0.300", "0.200"]
    assert cells(text, "cat") == ["2", "1", "–"]
    assert cells(text, "&lt;b&gt;&amp;&#34;six&#39;") == ["1", "0", "–"]
    assert cells(text, "images without objects") == ["1", "1", ""]
    changed, all_of_it = text.split("<details>")
    assert cells(changed, "epochs") == cells(all_of_it, "epochs") == ["4"]
    assert "<td>min_size</td>" not in changed
    assert cells(all_of_it, "min_size") == ["–"]
    assert "<pre>RENDERSIGHT_MODEL=i-run python -m app</pre>" in text


def test_first_epoch_has_one_column(tmp_path: Path) -> None:
    assert "<th>best, epoch 1</th></tr>" in page_of_run(tmp_path / "run", aps=[0.1])


def test_evaluation_page_shows_figures_and_classes(tmp_path: Path) -> None:
    found = data("cat", NASTY)
    text = report_page.evaluation_page("<i>a-on-b", found, evaluate(found, [NOTHING] * 2), pictures=tmp_path)
    tags_of_a_whole_page(text)
    assert "<h1>Evaluation &lt;i&gt;a-on-b</h1>" in text
    assert "2 images, 2 objects</p>" in text
    assert cells(text, "cat") == ["1", "0.000"]


def test_page_with_large_pictures_stays_small(tmp_path: Path) -> None:
    """The pictures have the largest size of a gallery and a sheet, and the noise of photos."""
    plots = tmp_path / "run" / "plots"
    folder = write_run(tmp_path / "run")
    plots.mkdir()
    for name, size_wh in (("false_alarms.jpg", (984, 842)), ("misses.jpg", (984, 842)), ("hold_out.png", (1710, 1710))):
        rough(size_wh).save(plots / name, quality=85)
    two = replace(data(), class_names=("disc", "square"))
    text = report_page.run_page(folder, History.read(folder), train=two, hold_out=two, pictures=plots)
    assert text.count("<img") == 3
    assert 300_000 < len(text) < 3_000_000


def rough(size_wh: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(0)
    shape = (size_wh[1] // 2, size_wh[0] // 2, 3)
    return Image.fromarray(rng.integers(60, 200, shape, dtype=np.uint8)).resize(size_wh, Image.Resampling.BICUBIC)


def test_pages_count_ignored_boxes(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", class_names=("cat", NASTY), aps=[0.1])
    held = ignoring(data("cat"), (0, 0, 9, 9), (5, 5, 9, 9))
    text = report_page.run_page(folder, History.read(folder), train=data("cat"), hold_out=held, pictures=tmp_path)
    assert cells(text, "ignored boxes") == ["0", "4", ""]
    text = report_page.evaluation_page("b", held, evaluate(held, [NOTHING] * 2), pictures=tmp_path)
    assert "2 images, 1 object, 4 ignored boxes</p>" in text
