from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from seefar.data.picture_files import read_pictures
from seefar.errors import DataError


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), (255, 0, 0)).save(path, format="PNG")
    return path


def test_folders_give_their_pictures_in_order_and_named_files_are_read_whatever_their_ending(tmp_path: Path) -> None:
    for name in ("pets/b.png", "pets/a.PNG", "pets/deep/c.png", "pets/.hidden/d.png", "pets/.e.png"):
        picture(tmp_path / name)
    (tmp_path / "pets" / "notes.txt").write_text("no picture, and no ending of one")
    odd = picture(tmp_path / "without_an_ending")
    found = read_pictures([odd, tmp_path / "pets", tmp_path / "pets" / "b.png"], 16)
    names = [Path(name).relative_to(tmp_path).as_posix() for name in found.names]
    assert names == ["without_an_ending", "pets/a.PNG", "pets/b.png", "pets/deep/c.png"]
    assert not found.bad
    assert all(one.image.shape == (16, 16, 3) for one in found.pictures)


def test_what_is_bad_stops_nothing_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    good = picture(tmp_path / "good.png")
    found = read_pictures([tmp_path / "broken.png", tmp_path / "gone.png", tmp_path / "empty", good], 16)
    assert found.names == (str(good),)
    about = "\n".join(sorted(found.bad))
    assert len(found.bad) == 3
    for words in ("broken.png cannot be read", "gone.png is missing", "empty is a folder without pictures"):
        assert words in about


def test_no_picture_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="No picture is named: pass at least one"):
        read_pictures([], 16)
