"""Picture files that a user names, also whole folders of them: found, read, and those that are bad named at once."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seefar.data.layout import NO_CLASSES
from seefar.data.pictures import Picture, picture_suffixes, read_picture
from seefar.errors import DataError
from seefar.output import printable
from seefar.progress import SILENT, Progress

Places = str | Path | Sequence[str | Path]
"""A file or folder, or several of them."""


@dataclass(frozen=True)
class PictureFiles:
    """Pictures that were read, and what is wrong with the files that cannot be.

    Attributes:
        names: the N files that were read, as they were named.
        pictures: the N pictures.
        bad: one sentence for each file that cannot be read, and for each folder without pictures.
    """

    names: tuple[str, ...]
    pictures: tuple[Picture, ...]
    bad: tuple[str, ...]


def read_pictures(places: Places, size: int, progress: Progress = SILENT) -> PictureFiles:
    """Read files, and all pictures in folders; none of them stops the others.

    A file that is named is read whatever its ending; of a folder, also of those within it, the files with the endings
    of pictures are. Hidden ones are left alone. A file that is named twice is read once.

    Args:
        places: a file or folder, or several of them.
        size: height and width of the images wanted, in pixels.
        progress: see `seefar.progress`.

    Raises:
        DataError: no place is named.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (40, 40), "red").save(folder / "a.png")
        >>> _ = (folder / "b.png").write_text("no picture")
        >>> found = read_pictures(folder, 32)
        >>> [Path(name).name for name in found.names], len(found.bad)
        (['a.png'], 1)
    """
    named = [places] if isinstance(places, str | Path) else list(places)
    if not named:
        raise DataError("No picture is named: pass at least one file or folder.")
    files: dict[Path, None] = {}
    names, pictures, bad = [], [], []
    for place in map(Path, named):
        inside = _pictures_in(place) if place.is_dir() else [place]
        files.update(dict.fromkeys(inside))
        if not inside:
            bad.append(f"{printable(str(place))} is a folder without pictures.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged metadata, one for each picture
        for number, file in enumerate(files):
            try:
                pictures.append(read_picture(file, size))
                names.append(os.fsencode(file).decode("utf-8", "replace"))
            except DataError as error:
                bad.append(str(error))
            progress.update("reading pictures", number + 1, len(files))
    return PictureFiles(tuple(names), tuple(pictures), tuple(bad))


def _pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder and of those within it, in the order of their names."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "." and name not in NO_CLASSES]
        found += [Path(place, name) for name in files if name[0] != "."]
    return sorted(path for path in found if path.suffix.lower() in picture_suffixes())
