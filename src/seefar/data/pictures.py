"""Picture files of any size and mode become network images: upright, opaque, cropped to a square, resized.

Every format of Pillow is read, except those that start another program. A picture records what was done to it.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from seefar.errors import DataError, printable
from seefar.progress import SILENT, Progress
from seefar.runs.files import open_regular

if TYPE_CHECKING:
    from PIL.Image import Image

GREY = (128, 128, 128)
"""The colour behind transparent pixels: the middle of the scale, which is evidence for no class."""
NOT_READ = {"EPS", "BUFR", "GRIB", "HDF5", "WMF", "MPEG", "BLP", "ICNS", "ICO", "IPTC"}
"""Formats for which Pillow starts another program, which it cannot decode, or whose header does not give the size of
the picture inside."""
LARGEST_PIXELS = 50_000_000
"""A compressed file of less than a megabyte can hold as many; decoded, each takes up to 8 bytes."""
NAMED = 20
"""Bad files that an error names at most."""
NO_CLASSES = {"__MACOSX", "__pycache__"}
"""Folders of other programs, which are ignored, as are all that begin with a dot."""
Places = str | Path | Sequence[str | Path]
"""A file or folder, or several of them."""


@dataclass(frozen=True, eq=False, repr=False)
class Picture:
    """A picture as the network sees it, and what was done to it.

    Attributes:
        image: uint8 (size, size, 3), RGB.
        original: width and height of the upright picture, in pixels.
        crop: left, top, right and bottom of the square that was cut out, in pixels of the upright picture.
        notes: what else was done, such as `transparency laid on grey`.
    """

    image: NDArray[np.uint8]
    original: tuple[int, int]
    crop: tuple[int, int, int, int]
    notes: tuple[str, ...]

    @property
    def is_cropped(self) -> bool:
        """Whether something was cut away: the picture was not square."""
        return self.original[0] != self.original[1]

    def describe(self) -> str:
        """All of it in one line."""
        (width, height), (left, top, right, bottom) = self.original, self.crop
        cut = "all of it"
        if self.is_cropped:
            cut = f"the centre square, columns {left} to {right - 1} and rows {top} to {bottom - 1},"
        size = len(self.image)
        return "; ".join((f"{width}x{height} pixels, {cut} resized to {size}x{size}", *self.notes))

    def __repr__(self) -> str:
        return f"Picture({self.describe()})"


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


@cache
def picture_suffixes() -> frozenset[str]:
    """Endings of the file names that are read, in lower case, such as `.png`."""
    from PIL import Image

    formats = _formats()
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in formats)


def read_picture(path: str | Path, size: int) -> Picture:
    """Read one picture of any size and mode as uint8 (size, size, 3) RGB.

    It is turned upright by its EXIF orientation; of several frames the first is taken; 16-bit values are scaled to 8
    bits; transparency is laid on grey; the centre square is cut out and resized with antialiasing (Lanczos).

    Args:
        path: the file.
        size: height and width of the result, in pixels.

    Raises:
        DataError: the file is missing, is no picture, or has too many pixels.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (60, 40), "red").save(f"{folder}/a.png")
        ...     read_picture(f"{folder}/a.png", 32)
        Picture(60x40 pixels, the centre square, columns 10 to 49 and rows 0 to 39, resized to 32x32)
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with _Bounded(path) as file, Image.open(file, formats=sorted(_formats())) as picture:
            frames = getattr(picture, "n_frames", 1)
            notes = [f"the first of {frames} frames"] if frames > 1 else []
            width, height = picture.size
            if width * height > LARGEST_PIXELS:
                raise DataError(
                    f"{printable(str(path))} has {width:,} x {height:,} pixels; at most {LARGEST_PIXELS:,} are read: "
                    "make it smaller."
                )
            # A JPEG is decoded at an eighth, a quarter or a half of its size where that still is four times the target.
            picture.draft(None, (4 * size, 4 * size))
            picture.load()  # which turns a TIFF upright by itself
            orientation = picture.getexif().get(0x0112, 1)
            upright = picture if orientation == 1 else ImageOps.exif_transpose(picture)
            if orientation in (5, 6, 7, 8):
                width, height = height, width
            plain = _to_rgb(upright, size, notes)
            side = min(plain.size)
            corner = [(length - side) // 2 for length in plain.size]
            box = (corner[0], corner[1], corner[0] + side, corner[1] + side)
            image = np.asarray(plain.resize((size, size), Image.Resampling.LANCZOS, box, reducing_gap=3.0))
    except FileNotFoundError as error:
        raise DataError(f"{printable(str(path))} is missing.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise DataError(f"{printable(str(path))} has too many pixels to be read safely ({error}).") from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"{printable(str(path))} cannot be read as a picture (its content has no picture format)."
        ) from error
    except (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, struct.error) as error:
        reason = (
            getattr(error, "strerror", None) or printable(str(error).replace(str(path), "it")) or type(error).__name__
        )
        raise DataError(f"{printable(str(path))} cannot be read as a picture ({reason}).") from error
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return Picture(image, (width, height), (left, top, left + side, top + side), tuple(notes))


def read_pictures(places: Places, size: int, progress: Progress = SILENT) -> PictureFiles:
    """Read files, and all pictures in folders; none of them stops the others.

    A file that is named is read whatever its ending; of a folder, also of those within it, the files with the endings
    of pictures are. Hidden files are ignored. A file that is named twice is read once.

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


def unreadable(bad: Sequence[str], count: int, place: str = "") -> DataError:
    """The error that names all files that cannot be read at once.

    `place` is where they are, such as ` in pets`.
    """
    lines = "\n  ".join(bad[:NAMED])
    if len(bad) > NAMED:
        lines += f"\n  and {len(bad) - NAMED} more"
    return DataError(
        f"{len(bad)} of {count} files{place} cannot be read as pictures:\n  {lines}\nRepair or remove them."
    )


class _Bounded(io.BufferedReader):
    """A regular file that is never asked for more bytes than it has left.

    Formats declare the length of their parts. Pillow trusts it, and Python allocates the memory before it reads.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(open_regular(path).detach())
        self._path, self._length = path, os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._length - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))

    def __repr__(self) -> str:
        return repr(str(self._path))  # it appears in Pillow's messages


@cache
def _formats() -> frozenset[str]:
    from PIL import Image

    Image.init()
    return frozenset(set(Image.OPEN) - NOT_READ)


def _to_rgb(picture: Image, size: int, notes: list[str]) -> Image:
    """The picture in mode RGB; what had to be done is added to `notes`.

    Pictures with transparency or of more than 8 bits are made smaller first where they still are four times the target,
    since their conversion takes several copies.
    """
    from PIL import Image

    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(_to_8_bits(picture, size, notes)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        with_alpha = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        if with_alpha.getchannel("A").getextrema() != (255, 255):
            notes.append("transparency laid on grey")
        small = _reduced(with_alpha, size)
        return Image.alpha_composite(Image.new("RGBA", small.size, (*GREY, 255)), small).convert("RGB")
    if picture.mode not in ("RGB", "L", "P", "1"):
        notes.append(f"{picture.mode} made into RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _to_8_bits(picture: Image, size: int, notes: list[str]) -> NDArray[np.uint8]:
    """A picture of grey values of 16 or 32 bits on the scale 0 to 255, (H, W).

    Integers that fit 16 bits are taken to be on the scale 0 to 65535, floats in 0..1 on the scale 0 to 1; all others
    have no known scale and are stretched from their least to their greatest value.
    """
    integers = picture.mode != "F"
    picture = picture.convert("I") if integers else picture  # Pillow cannot reduce 16 bits
    low, high = (float(cast(float, value)) for value in picture.getextrema())
    values = np.asarray(_reduced(picture, size), np.float64)
    if not (np.isfinite((low, high)).all() and np.isfinite(values).all()):
        raise ValueError("some of its values are not finite")
    if low >= 0 and high <= (65535 if integers else 1):
        low, high = 0.0, 65535.0 if integers else 1.0
        notes.append("16 bits scaled to 8" if integers else "floats from 0 to 1 scaled to 8 bits")
    else:
        notes.append(f"values from {low:g} to {high:g} stretched to 8 bits")
    return ((values - low) * (255 / max(high - low, 1e-300))).round().astype(np.uint8)


def _reduced(picture: Image, size: int) -> Image:
    """The picture shrunk by a whole number to no less than four times the target, as a JPEG is decoded."""
    factor = min(picture.size) // (4 * size)
    if factor > 1:
        return picture.reduce(factor)
    return picture


def _pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder and of those within it, in the order of their names."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "." and name not in NO_CLASSES]
        found += [Path(place, name) for name in files if name[0] != "."]
    return sorted(path for path in found if path.suffix.lower() in picture_suffixes())
