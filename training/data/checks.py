"""Checks of a dataset for faults that stop training, harm it, or make its figures look better than they are.

Each check is a function that returns findings. `examine` runs all checks.
"""

from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import combinations

import numpy as np

from rendersight.annotations import AnnotatedImage, Fault
from rendersight.annotations.dataset import AnnotatedDataset, Misfit
from rendersight.annotations.formats import FORMATS
from rendersight.detections import box_iou
from training.data.anchor_fit import Boxes, Geometry, check_anchor_fit, check_crowds
from training.data.duplicates import Look, alike, groups
from training.data.findings import Finding, Severity, Spot, counted, in_order

_ROUNDED_PX = 1.0
_SAME_BOX_IOU = 0.9
_RARE_BOXES = 20
_IMBALANCE = 10
_TYPO_RATIO = 0.8
_TYPO_SHARE = 0.1
_BLACK, _WHITE = 16.0, 239.0
_UNION_SPLITS = ("trainval",)


def examine(
    found: AnnotatedDataset,
    faults: Sequence[Fault],
    class_names: Sequence[str],
    *,
    looks: Sequence[Look],
    boxes: Boxes,
    geometry: Geometry,
    against: tuple[str, Sequence[Look]] | None = None,
) -> list[Finding]:
    """Run all checks.

    Args:
        found: the dataset.
        faults: the dataset's faults, including labels that are not a class; see `training.data.dataset.all_faults`.
        class_names: the classes.
        looks: thumbnails and hashes of `found.images`, in the same order.
        boxes: boxes of `found.images` at the network's input.
        geometry: input size, anchors and strides of the network.
        against: name and looks of another dataset, which should share no image with this one.

    Returns:
        Findings, the most severe first.
    """
    pairs = alike(looks)
    return in_order(
        [
            *check_files(faults),
            *check_exposure(looks),
            *check_orientation(looks, is_upright=FORMATS[found.format].is_upright),
            *check_duplicates(looks, pairs),
            *check_leaks(found.images, pairs),
            *(check_leaks_against(looks, *against) if against else ()),
            *check_misfits(found.misfits),
            *check_same_boxes(found.images),
            *check_label_names(found.images),
            *check_balance(found.images, tuple(dict.fromkeys((*class_names, *found.class_names)))),
            *check_unused(found),
            *check_anchor_fit(boxes, geometry),
            *check_crowds(found.images, geometry),
        ]
    )


def check_files(faults: Sequence[Fault]) -> list[Finding]:
    """Report files that cannot be used because they are missing, broken or contradictory."""
    if not faults:
        return []
    what = f"{counted(len({fault.file for fault in faults}), 'file')} cannot be used."
    spots = tuple(Spot(fault.file, words=fault.reason) for fault in faults)
    return [Finding("files", "fault", what, "Fix or remove them. Training stops until then.", spots)]


def check_exposure(looks: Sequence[Look]) -> list[Finding]:
    """Report images that are nearly black, nearly white or flat as read."""
    spots = []
    for look in looks:
        darkest, brightest = look.grey_range
        if brightest < _BLACK:
            spots.append(Spot(look.name, words="nearly black"))
        elif darkest > _WHITE:
            spots.append(Spot(look.name, words="nearly white"))
        elif look.is_flat:
            spots.append(Spot(look.name, words="flat"))
    if not spots:
        return []
    told = ", ".join(f"{kind} {count}" for kind, count in sorted(Counter(spot.words for spot in spots).items()))
    what = f"As read, {counted(len(spots), 'image shows', 'images show')} next to nothing: {told}."
    advice = "Look at them; save images of more than 8 bits per sample with 8 if their brightness is wrong."
    return [Finding("exposure", "warning", what, advice, tuple(spots))]


def check_orientation(looks: Sequence[Look], *, is_upright: bool) -> list[Finding]:
    """Report photos that an EXIF orientation turns or mirrors."""
    spots = tuple(Spot(look.name, words=f"orientation {look.orientation}") for look in looks if look.orientation != 1)
    if not spots:
        return []
    what = f"{counted(len(spots), 'photo was', 'photos were')} turned upright by an EXIF orientation."
    if is_upright:
        advice = "Nothing to do: this format's own tools show them upright too."
        return [Finding("orientation", "note", what, advice, spots)]
    advice = "Check in the pictures that the boxes sit on objects. A tool that ignores EXIF puts them elsewhere."
    return [Finding("orientation", "warning", what, advice, spots)]


def check_duplicates(looks: Sequence[Look], pairs: Sequence[tuple[int, int]]) -> list[Finding]:
    """Report images that occur several times, as the same file or as the same picture."""
    found = []
    exact = [(i, j) for i, j in pairs if looks[i].sha256 == looks[j].sha256]
    similar = [(i, j) for i, j in pairs if looks[i].sha256 != looks[j].sha256]
    for kind, chosen in (("the same file", exact), ("the same picture", similar)):
        sets = groups(chosen)
        if sets:
            spots = tuple(
                Spot(looks[i].name, words=f"set {number}") for number, group in enumerate(sets, 1) for i in group
            )
            copies = sum(len(group) - 1 for group in sets)
            what = f"{counted(copies, 'image is', 'images are')} {kind} as another, in {counted(len(sets), 'set')}."
            advice = (
                "Keep one of each. Copies count twice in training. On both sides of a split, they flatter the figures."
            )
            found.append(Finding("duplicates", "warning", what, advice, spots))
    return found


def check_leaks(images: Sequence[AnnotatedImage], pairs: Sequence[tuple[int, int]]) -> list[Finding]:
    """Report images that are in several parts of a split, themselves or as copies."""
    parts = [{split for split in image.splits if split not in _UNION_SPLITS} for image in images]
    spots = [
        Spot(image.name, words=f"in {' and '.join(sorted(part))}")
        for image, part in zip(images, parts, strict=True)
        if len(part) > 1
    ]
    for i, j in pairs:
        if parts[i] and parts[j] and parts[i] != parts[j]:
            for one, other in ((i, j), (j, i)):
                here, there = (" and ".join(sorted(parts[place])) for place in (one, other))
                spots.append(Spot(images[one].name, words=f"in {here}; same as {images[other].name} in {there}"))
    if not spots:
        return []
    count = len({spot.file for spot in spots})
    what = f"{counted(count, 'image is', 'images are')} in several parts of the split, directly or as a copy."
    advice = "Keep each picture in one part. Figures on training pictures say nothing about new photos."
    return [Finding("leaks", "warning", what, advice, tuple(spots))]


def check_leaks_against(looks: Sequence[Look], name: str, others: Sequence[Look]) -> list[Finding]:
    """Report images that another dataset also holds."""
    pairs = alike(looks, others)
    if not pairs:
        return []
    spots = tuple(Spot(looks[i].name, words=f"same as {others[j].name} in {name}") for i, j in pairs)
    what = f"{counted(len({i for i, _ in pairs}), 'image is', 'images are')} also in {name}."
    advice = "Remove them from one of the two. Measure on photos that the detector was not trained on."
    return [Finding("leaks", "warning", what, advice, spots)]


def check_misfits(misfits: Sequence[Misfit]) -> list[Finding]:
    """Report boxes that reach beyond their image or have no area inside it."""
    lost = [item for item in misfits if not item.is_kept]
    cut = sorted((item for item in misfits if item.is_kept), key=lambda item: -item.beyond_px)
    far = [item for item in cut if item.beyond_px > _ROUNDED_PX]
    near = cut[len(far) :]
    rows: tuple[tuple[Sequence[Misfit], Severity, str, str, str], ...] = (
        (
            lost,
            "warning",
            "has no area inside the image and is left out",
            "have no area inside the image and are left out",
            "Redraw or remove them. Their objects count as background now.",
        ),
        (
            far,
            "warning",
            "reaches beyond the image and is cut at its edge",
            "reach beyond the image and are cut at its edge",
            "Check that the boxes belong to this image and were drawn at its size and orientation.",
        ),
        (
            near,
            "note",
            f"reaches at most {_ROUNDED_PX:g} px beyond the image, as after rounding, and is cut",
            f"reach at most {_ROUNDED_PX:g} px beyond the image, as after rounding, and are cut",
            "",
        ),
    )
    return [
        Finding(
            "misfits",
            severity,
            f"{counted(len(items), 'box ' + one, 'boxes ' + many)}.",
            advice,
            tuple(Spot(item.image, item.box_xyxy, item.label) for item in items),
        )
        for items, severity, one, many, advice in rows
        if items
    ]


def check_same_boxes(images: Sequence[AnnotatedImage]) -> list[Finding]:
    """Report boxes that coincide with another box of the same image, with the same label or another one."""
    twice: list[Spot] = []
    torn: list[Spot] = []
    for image in images:
        for i, j in np.argwhere(np.triu(box_iou(image.boxes_xyxy, image.boxes_xyxy) >= _SAME_BOX_IOU, k=1)).tolist():
            x0, y0, x1, y1 = (float(value) for value in image.boxes_xyxy[j])
            labels = dict.fromkeys((image.labels[i], image.labels[j]))
            (twice if len(labels) == 1 else torn).append(Spot(image.name, (x0, y0, x1, y1), " and ".join(labels)))
    found = []
    if twice:
        what = f"{counted(len(twice), 'box covers', 'boxes cover')} another box of the same label."
        advice = "Remove one of each pair. A detector keeps one box, and the other counts as missed."
        found.append(Finding("same boxes", "warning", what, advice, tuple(twice)))
    if torn:
        what = f"{counted(len(torn), 'object has', 'objects have')} two boxes with different labels."
        found.append(Finding("same boxes", "warning", what, "Keep one of the labels.", tuple(torn)))
    return found


def check_label_names(images: Sequence[AnnotatedImage]) -> list[Finding]:
    """Report pairs of labels that probably mean one class: they differ in case, spaces or hyphens, or by a typo."""
    counts = Counter(label for image in images for label in image.labels)
    found = []
    for first, second in combinations(sorted(counts), 2):
        rare, common = sorted((first, second), key=lambda name: (counts[name], name))
        if _folded(first) == _folded(second):
            how = "differ only in case, spaces or hyphens"
        elif counts[rare] <= _TYPO_SHARE * counts[common] and _is_typo(first, second):
            how = "are spelled alike, and one is rare"
        else:
            continue
        what = f"The labels {rare!r} ({counts[rare]}) and {common!r} ({counts[common]}) {how}."
        spots = tuple(
            Spot(image.name, tuple(box.tolist()), label)
            for image in images
            for box, label in zip(image.boxes_xyxy, image.labels, strict=True)
            if label == rare
        )
        found.append(Finding("label names", "warning", what, "If they mean one class, give them one name.", spots))
    return found


def _folded(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum()) or name


def _is_typo(first: str, second: str) -> bool:
    """Return whether two names are similar and differ in more than digits: `class_1` and `class_2` are two classes."""
    without_digits = {"".join(letter for letter in name if not letter.isdigit()) for name in (first, second)}
    matcher = SequenceMatcher(None, first.casefold(), second.casefold())
    return len(without_digits) > 1 and matcher.real_quick_ratio() >= _TYPO_RATIO <= matcher.ratio()


def check_balance(images: Sequence[AnnotatedImage], class_names: Sequence[str]) -> list[Finding]:
    """Report rare and absent classes, and a large ratio between the commonest and the rarest class."""
    counts = Counter(label for image in images for label in image.labels)
    absent = [name for name in class_names if not counts[name]]
    rare = [f"{name} ({counts[name]})" for name in class_names if 0 < counts[name] < _RARE_BOXES]
    there = {name: counts[name] for name in class_names if counts[name]}
    found = []
    if absent:
        what = f"{counted(len(absent), 'class has', 'classes have')} no box: {', '.join(absent)}."
        advice = "A class without boxes is not learned. Label some, or leave the class out."
        found.append(Finding("balance", "note", what, advice))
    if rare:
        what = f"{counted(len(rare), 'class has', 'classes have')} fewer than {_RARE_BOXES} boxes: {', '.join(rare)}."
        advice = "Label more. Few boxes train badly, and figures on them vary widely."
        found.append(Finding("balance", "warning", what, advice))
    if there and max(there.values()) >= _IMBALANCE * min(there.values()):
        common, least = max(there, key=lambda name: there[name]), min(there, key=lambda name: there[name])
        what = (
            f"{common} has {there[common] / there[least]:.0f} times as many boxes as {least} "
            f"({there[common]} and {there[least]})."
        )
        advice = "Label more of the rare classes. Read the AP of each class, not the mean."
        found.append(Finding("balance", "warning", what, advice))
    return found


def check_unused(found: AnnotatedDataset) -> list[Finding]:
    """Report ignored files and shapes, and images without annotations."""
    findings = [Finding("reading", "note", remark[0].upper() + remark[1:] + ".") for remark in found.remarks]
    if found.unused:
        spots = tuple(Spot(fault.file, words=fault.reason) for fault in found.unused)
        what = f"{counted(len(spots), 'file is', 'files are')} neither an image nor read as labels."
        findings.append(Finding("unused", "note", what, "", spots))
    if found.unlabelled:
        spots = tuple(Spot(name) for name in found.unlabelled)
        what = f"{counted(len(spots), 'image has', 'images have')} no label file, while others have one: not used."
        advice = "Label them or remove them. If they show no object, pass --negatives or add empty label files."
        findings.append(Finding("unlabelled", "warning", what, advice, spots))
    bare = tuple(Spot(image.name) for image in found.images if image.annotation_path is None)
    if bare and len(bare) < len(found.images):
        what = f"{counted(len(bare), 'image has', 'images have')} no annotation file: taken as empty."
        advice = "Label any objects there. Without boxes, objects are learned as background."
        findings.append(Finding("unlabelled", "note", what, advice, bare))
    if found.unlisted:
        spots = tuple(Spot(name) for name in found.unlisted)
        what = f"{counted(len(spots), 'image is', 'images are')} in no annotation file and not used."
        findings.append(Finding("unlabelled", "note", what, "Label or remove them.", spots))
    if found.ignored_shapes:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(found.ignored_shapes.items()))
        what = f"Shapes that have no box are ignored: {kinds}."
        advice = "Draw boxes around the objects among them. Without boxes, objects are learned as background."
        findings.append(Finding("shapes", "note", what, advice))
    return findings
