"""Files and folders are checked before long work, and a check leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from nastk.errors import StorageError
from nastk.files import check_outputs, locked_folder, write_text


def test_a_file_that_can_be_written_passes_and_nothing_is_created(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("old")
    before = sorted(tmp_path.rglob("*"))
    check_outputs([tmp_path / "old.csv", tmp_path / "new" / "deep" / "a.csv", None], [tmp_path / "folder", None])
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "old.csv").read_text() == "old"


@pytest.mark.parametrize(
    "name", [".", "folder", "file/a.csv", "file/deep/a.csv", "a" * 300, f"{'a' * 300}/a.csv", "\0"]
)
def test_what_writing_would_refuse_is_refused_before(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        check_outputs([tmp_path / name])
    if "\0" not in name:
        with pytest.raises(StorageError):
            write_text(tmp_path / name, "text")


@pytest.mark.parametrize("name", ["file", "file/folder", "a" * 300])
def test_a_folder_that_cannot_be_made_is_refused_before(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write to folder"):
        check_outputs([], [tmp_path / name])


def test_a_folder_in_which_nothing_was_written_goes_with_its_parents(tmp_path: Path) -> None:
    with locked_folder(tmp_path / "a" / "b") as folder:
        assert folder.is_dir()
    assert not (tmp_path / "a").exists()
    with locked_folder(tmp_path / "a" / "b") as folder:
        write_text(folder / "kept", "text")
    assert (tmp_path / "a" / "b" / "kept").exists()
    with pytest.raises(StorageError, match="File name too long"), locked_folder("a" * 300):
        pass
