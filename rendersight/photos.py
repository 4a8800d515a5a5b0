"""Search for the photos named on a command line."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rendersight import images
from rendersight.annotations import AnnotationError


def find_photos(paths: Sequence[Path], *, stems_differ: bool = True) -> list[Path]:
    """Return the named image files and those in the named folders, sorted, without repeats.

    Args:
        paths: files, or folders that are searched recursively.
        stems_differ: refuse two images with the same stem, because their output files would have the same name.

    Raises:
        AnnotationError: a path does not exist, there is no image, or two images have the same stem.
    """
    suffixes = images.file_formats()
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found.update(
                dict.fromkeys(sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes and p.is_file()))
            )
        elif path.is_file():
            found[path] = None
        else:
            raise AnnotationError(f"{path} is neither a file nor a folder")
    if not found:
        raise AnnotationError(f"no images in {', '.join(str(path) for path in paths)}")
    if stems_differ:
        _check_stems(found)
    return list(found)


def _check_stems(photos: Iterable[Path]) -> None:
    by_stem: dict[str, Path] = {}
    for path in photos:
        if (other := by_stem.setdefault(path.stem, path)) != path:
            raise AnnotationError(
                f"{other} and {path} would both be written as {path.stem}; give them in separate commands"
            )
