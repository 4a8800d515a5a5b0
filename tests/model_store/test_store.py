"""The store: finding, verifying and publishing releases."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from model_store import store
from model_store.errors import BrokenRelease, ReleaseNotFound
from model_store.manifest import InputRule, Manifest
from model_store.store import Release, find, open_release, publish, versions

ROOT = Path(__file__).parents[2]


def fill_with(text: str, name: str = "dice", files: tuple[str, ...] = ()) -> Callable[[Path, int], None]:
    """Return what writes a release whose weights are a text; the store never looks into them."""

    def fill(folder: Path, version: int) -> None:
        written = (store.WEIGHTS, store.GOLDEN_IMAGE, *files)
        for file in written:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(f"{text} {version} {file}")
        Manifest(
            name=name,
            version=version,
            created="2024-01-01T00:00:00Z",
            architecture="fasterrcnn_mobilenet_v2_fpn",
            options={},
            class_names=("one",),
            input=InputRule(min_size=64, max_size=128, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)),
            score_floor=0.05,
            detections_per_image=100,
            score_threshold=0.5,
            files={file: store.sha256_of(folder / file) for file in written},
        ).write(folder)

    return fill


def accept(release: Release) -> None:
    """Check nothing."""


def put(root: Path, name: str = "dice", *, files: tuple[str, ...] = ()) -> Release:
    return publish(root, name, fill_with("weights", name, files), accept)


def put_version(root: Path, name: str, version: int) -> None:
    folder = root / name / str(version)
    folder.mkdir(parents=True)
    fill_with("weights", name)(folder, version)


class TestFind:
    def test_a_name_means_its_highest_version_by_number(self, tmp_path: Path) -> None:
        for version in (2, 9, 10):
            put_version(tmp_path, "dice", version)
        assert versions(tmp_path, "dice") == [2, 9, 10]
        assert find(tmp_path, "dice").ref == "dice@10"

    def test_a_version_can_be_pinned(self, tmp_path: Path) -> None:
        put(tmp_path)
        put(tmp_path)
        release = find(tmp_path, "dice@1")
        assert release.manifest.version == 1
        assert release.folder == tmp_path / "dice" / "1"

    def test_what_is_missing_is_answered_with_what_is_there(self, tmp_path: Path) -> None:
        put(tmp_path)
        put(tmp_path, "cards")
        for ref in ("coins", "dice@2"):
            with pytest.raises(ReleaseNotFound, match=f"no release '{ref}' in .*there: cards@1, dice@1$"):
                find(tmp_path, ref)

    @pytest.mark.parametrize("root", ["empty", "missing"])
    def test_a_store_without_releases(self, tmp_path: Path, root: str) -> None:
        (tmp_path / "empty").mkdir()
        assert versions(tmp_path / root, "dice") == []
        with pytest.raises(ReleaseNotFound, match="there: none"):
            find(tmp_path / root, "dice")

    def test_takes_no_path(self, tmp_path: Path) -> None:
        put(tmp_path)
        with pytest.raises(ReleaseNotFound, match="is no release reference; accepted: a name such as dice, or dice@6"):
            find(tmp_path, "dice/1")

    def test_only_numbers_are_versions(self, tmp_path: Path) -> None:
        put(tmp_path)
        for name in ("0", "02", "v3", "4.bak", ".5", "latest"):
            (tmp_path / "dice" / name).mkdir()
        assert versions(tmp_path, "dice") == [1]

    def test_a_manifest_of_another_release_is_refused(self, tmp_path: Path) -> None:
        put(tmp_path)
        shutil.copytree(tmp_path / "dice" / "1", tmp_path / "dice" / "2")
        (tmp_path / "cards").mkdir()
        shutil.copytree(tmp_path / "dice" / "1", tmp_path / "cards" / "1")
        for ref in ("dice", "cards"):
            with pytest.raises(BrokenRelease, match="the manifest is that of dice@1"):
                find(tmp_path, ref)

    def test_a_folder_without_manifest_is_broken(self, tmp_path: Path) -> None:
        (tmp_path / "dice" / "1").mkdir(parents=True)
        with pytest.raises(BrokenRelease, match=r"manifest\.json: No such file"):
            find(tmp_path, "dice")


class TestVerify:
    def test_a_sound_release_passes_also_when_it_moved(self, tmp_path: Path) -> None:
        release = put(tmp_path / "store", files=("engines/fast/model.bin",))
        release.verify()
        shutil.copytree(release.folder, tmp_path / "elsewhere")
        open_release(tmp_path / "elsewhere").verify()

    @pytest.mark.parametrize("name", ["model.pt", "golden.jpg", "engines/fast/model.bin"])
    def test_a_changed_file_is_named_with_both_sums(self, tmp_path: Path, name: str) -> None:
        release = put(tmp_path, files=("engines/fast/model.bin",))
        with (release.folder / name).open("ab") as file:
            file.write(b"!")
        with pytest.raises(BrokenRelease, match=rf"{name}: sha256 is [0-9a-f]{{64}}, the manifest says [0-9a-f]{{64}}"):
            release.verify()

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        release = put(tmp_path)
        (release.folder / "golden.jpg").unlink()
        with pytest.raises(BrokenRelease, match=r"golden\.jpg: No such file"):
            release.verify()

    def test_a_folder_in_a_file_s_place_is_named(self, tmp_path: Path) -> None:
        release = put(tmp_path)
        (release.folder / "golden.jpg").unlink()
        (release.folder / "golden.jpg").mkdir()
        with pytest.raises(BrokenRelease, match=r"golden\.jpg: Is a directory"):
            release.verify()

    def test_a_link_out_of_the_folder_is_refused_though_its_content_is_the_same(self, tmp_path: Path) -> None:
        release = put(tmp_path / "store")
        (release.folder / "model.pt").rename(tmp_path / "model.pt")
        (release.folder / "model.pt").symlink_to(tmp_path / "model.pt")
        with pytest.raises(BrokenRelease, match=r"model\.pt: points outside the release's folder"):
            release.verify()

    def test_a_linked_store_is_fine(self, tmp_path: Path) -> None:
        put(tmp_path / "store")
        (tmp_path / "link").symlink_to(tmp_path / "store", target_is_directory=True)
        find(tmp_path / "link", "dice").verify()

    @pytest.mark.parametrize("name", ["model.pt", "golden.jpg"])
    def test_weights_and_golden_image_must_be_listed(self, tmp_path: Path, name: str) -> None:
        release = put(tmp_path)
        files = {key: value for key, value in release.manifest.files.items() if key != name}
        release.manifest.model_copy(update={"files": files}).write(release.folder)
        with pytest.raises(BrokenRelease, match=f"the manifest lists no {name}"):
            open_release(release.folder).verify()

    def test_sha256_of_the_well_known_example(self, tmp_path: Path) -> None:
        (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
        expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        assert store.sha256_of(tmp_path / "abc") == expected


class TestPublish:
    def test_versions_count_up_and_old_ones_stay(self, tmp_path: Path) -> None:
        first = publish(tmp_path / "new" / "store", "dice", fill_with("first"), accept)
        second = publish(tmp_path / "new" / "store", "dice", fill_with("second"), accept)
        assert (first.ref, second.ref) == ("dice@1", "dice@2")
        assert (first.folder / "model.pt").read_text() == "first 1 model.pt"
        assert (second.folder / "model.pt").read_text() == "second 2 model.pt"
        first.verify()

    def test_a_gap_is_not_filled(self, tmp_path: Path) -> None:
        put_version(tmp_path, "dice", 4)
        assert put(tmp_path).ref == "dice@5"

    def test_the_check_sees_the_whole_release_before_anybody_else(self, tmp_path: Path) -> None:
        seen: list[str] = []

        def check(release: Release) -> None:
            release.verify()
            seen.append(release.ref)
            assert versions(tmp_path, "dice") == []

        publish(tmp_path, "dice", fill_with("weights"), check)
        assert seen == ["dice@1"]

    @pytest.mark.parametrize("error", [BrokenRelease("no"), KeyboardInterrupt()])
    def test_a_failing_check_leaves_nothing(self, tmp_path: Path, error: BaseException) -> None:
        put(tmp_path)

        def check(release: Release) -> None:
            raise error

        with pytest.raises(type(error)):
            publish(tmp_path, "dice", fill_with("bad"), check)
        assert find(tmp_path, "dice").ref == "dice@1"
        assert [path.name for path in (tmp_path / "dice").iterdir()] == ["1"]

    def test_what_does_not_verify_is_not_published(self, tmp_path: Path) -> None:
        def fill(folder: Path, version: int) -> None:
            fill_with("weights")(folder, version)
            (folder / "model.pt").write_text("changed afterwards")

        with pytest.raises(BrokenRelease, match=r"model\.pt: sha256"):
            publish(tmp_path, "dice", fill, accept)
        with pytest.raises(ReleaseNotFound, match="there: none"):
            find(tmp_path, "dice")

    def test_without_a_manifest_nothing_is_published(self, tmp_path: Path) -> None:
        with pytest.raises(BrokenRelease, match=r"manifest\.json"):
            publish(tmp_path, "dice", lambda folder, version: None, accept)
        assert versions(tmp_path, "dice") == []

    @pytest.mark.parametrize("name", ["", "Dice", "../dice", "a/b", ".publishing-x", "dice@2"])
    def test_a_name_that_could_not_be_found_again_is_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ReleaseNotFound, match="cannot name a release"):
            publish(tmp_path / "store", name, fill_with("weights"), accept)
        assert not (tmp_path / "store").exists()

    def test_two_publishers_at_once_get_versions_of_their_own(self, tmp_path: Path) -> None:
        both_are_ready = threading.Barrier(2, timeout=20)
        attempts: dict[str, list[int]] = {"a": [], "b": []}
        releases: dict[str, Release] = {}

        def run(text: str) -> None:
            def check(release: Release) -> None:
                attempts[text].append(release.manifest.version)
                if len(attempts[text]) == 1:
                    both_are_ready.wait()

            releases[text] = publish(tmp_path, "dice", fill_with(text), check)

        threads = [threading.Thread(target=run, args=(text,)) for text in attempts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)

        assert sorted(len(numbers) for numbers in attempts.values()) == [1, 2]  # one had to try again
        assert sorted(release.ref for release in releases.values()) == ["dice@1", "dice@2"]
        for text, release in releases.items():
            release.verify()
            assert (release.folder / "model.pt").read_text().startswith(text)
        assert [path.name for path in tmp_path.iterdir()] == ["dice"]

    def test_a_killed_publisher_leaves_no_release(self, tmp_path: Path) -> None:
        program = f"""
import importlib.util, os, signal, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("test_store", {__file__!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
kill = lambda release: os.kill(os.getpid(), signal.SIGKILL)
module.publish(Path(sys.argv[1]), "dice", module.fill_with("killed"), kill)
"""
        done = subprocess.run([sys.executable, "-c", program, tmp_path], cwd=ROOT, check=False)
        assert done.returncode == -signal.SIGKILL
        (leftover,) = tmp_path.glob("dice/.rendersight-draft-*")
        assert (leftover / "1" / "manifest.json").is_file()  # it was as good as done

        assert versions(tmp_path, "dice") == []
        with pytest.raises(ReleaseNotFound, match="there: none"):
            find(tmp_path, "dice")
        assert publish(tmp_path, "dice", fill_with("next"), accept).ref == "dice@1"
        assert (find(tmp_path, "dice").folder / "model.pt").read_text().startswith("next")
        assert [path.name for path in (tmp_path / "dice").iterdir()] == ["1"]

    def test_other_users_can_read_it_whatever_the_umask(self, tmp_path: Path) -> None:
        before = os.umask(0o077)
        try:
            release = put(tmp_path, files=("engines/fast/model.bin",))
        finally:
            os.umask(before)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in release.folder.rglob("*")}
        assert modes["engines"] == modes["fast"] == stat.S_IMODE(release.folder.stat().st_mode) == 0o755
        assert modes["model.pt"] == modes["manifest.json"] == modes["model.bin"] == 0o644
