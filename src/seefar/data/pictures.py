"""Pictures of any size and mode become network images: upright, opaque, of 8 bits, of one height and width."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, Union, cast

import numpy as np
from numpy.typing import NDArray

from seefar.choices import Fit
from seefar.data.images import ImageSize, both, slices
from seefar.errors import DataError, printable
from seefar.progress import SILENT, Progress
from seefar.runs.files import expanded, read_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

GREY = (128, 128, 128)
"""The colour behind transparent pixels: the middle of the scale, which is evidence for no class."""
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""The formats that are read: their header gives the size of the picture, and Pillow decodes them in C, outside of
Python's lock. Variants with a decoder in Python, such as plain PPM, are refused: a small file could take minutes."""
LARGEST_PIXELS = 50_000_000
"""The most pixels of a picture: a compressed file below a megabyte can hold as many, of up to 8 bytes each."""
SCANNED_PIXELS = 40 * LARGEST_PIXELS
"""Pixels of all scans of a progressive JPEG: about two seconds. Usual ones have 10 scans."""
LARGEST_BYTES = 1 << 29
"""Bytes of a file, which is read at once: enough for as many pixels without compression."""
PART = 200
"""Pictures that are queued for the threads at once."""
NAMED = 20
"""The most bad files that an error lists."""
FULL_SCALES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)
"""Usual white in a picture of more than 8 bits: floats to 1 or 255, and cameras of 10, 12, 14 and 16 bits."""
OTHER_PROGRAMS = {
    "__macosx", "__pycache__", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot",
    "$recycle.bin", "lost+found", "system volume information",
}  # fmt: skip
"""Folders that macOS, Python, network disks and Windows create, in lower case: thumbnails and deleted files."""
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")
"""Markers of a JPEG that have a length, and those of its end."""
Place: TypeAlias = Union[str, "os.PathLike[str]", "Image", NDArray[np.uint8]]
"""A file or folder, or a picture in memory: of Pillow, or uint8 (H, W, 3) or (H, W)."""
Places: TypeAlias = Place | Sequence[Place]
"""One of them, or several."""


class Values(NamedTuple):
    """The values of a picture of more than 8 bits."""

    floats: bool
    low: float
    high: float


@dataclass(frozen=True, eq=False, repr=False)
class Picture:
    """A picture as the network sees it, uint8 (H, W, 3) RGB, and its conversion.

    `original` is width and height of the upright picture; `crop` left, top, right and bottom of the part of it that was
    used; `fit` how that part was made to fit H x W pixels; `notes` other steps; `values` those of more than 8 bits.
    """

    image: NDArray[np.uint8]
    original: tuple[int, int]
    crop: tuple[int, int, int, int]
    notes: tuple[str, ...] = ()
    fit: Fit = "crop"
    values: Values | None = None

    @property
    def cut_off(self) -> float:
        """Share of the picture that was cut off, 0 to 1."""
        (width, height), (left, top, right, bottom) = self.original, self.crop
        return 1 - (right - left) * (bottom - top) / (width * height)

    def describe(self) -> str:
        """The conversion in one line."""
        (width, height), (left, top, right, bottom) = self.original, self.crop
        rows, columns = self.image.shape[:2]
        used = "all of it resized to"
        if self.cut_off:
            used = f"the centre, columns {left} to {right - 1} and rows {top} to {bottom - 1}, resized to"
        elif width * rows != height * columns:
            used = {"pad": "all of it on grey of", "stretch": "all of it stretched to"}.get(self.fit, used)
        return "; ".join((f"{width}x{height} pixels, {used} {columns}x{rows}", *self.notes))

    def __repr__(self) -> str:
        return f"Picture({self.describe()})"


class PictureFiles(NamedTuple):
    """N files that were read, their pictures, and one sentence for each file or folder that gave no picture."""

    names: tuple[str, ...]
    pictures: tuple[Picture, ...]
    bad: tuple[str, ...]


@cache
def picture_suffixes() -> frozenset[str]:
    """Endings of the file names that are read, in lower case, such as `.png`."""
    from PIL import Image

    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS)


def read_picture(
    source: Place | bytes, size: ImageSize = 32, fit: Fit = "crop", scale: tuple[float, float] | None = None
) -> Picture:
    """One picture of any size and mode as uint8 (H, W, 3) RGB.

    It is turned upright by its EXIF orientation; of several frames the first is used; values of more than 8 bits are
    scaled to 8; transparency is laid on grey; the result is resized with antialiasing (Lanczos).

    Args:
        source: a file, its content, or a picture in memory.
        size: height and width of the result in pixels, or one number for both.
        fit: `crop` cuts out the largest centred part of the result's shape; `pad` keeps everything, on grey; `stretch`
            changes the proportions.
        scale: the values of black and white in a picture of more than 8 bits. Default: 0 and the smallest of
            `FULL_SCALES` that holds all of its values, else its smallest and largest value.

    Raises:
        DataError: the file is missing, is not a picture, or has too many pixels.
    """
    from PIL import Image, UnidentifiedImageError

    name = "the picture" if isinstance(source, bytes) or is_in_memory(source) else printable(str(source))
    try:
        if is_in_memory(source):
            picture = source.copy() if isinstance(source, Image.Image) else Image.fromarray(np.asarray(source))
            return _converted(picture, size, fit, scale)
        content = source if isinstance(source, bytes) else read_bytes(expanded(cast(str, source)), LARGEST_BYTES)
        return _decoded(content, size, fit, scale)
    except UnidentifiedImageError as error:
        raise DataError(
            f"{name} cannot be read as a picture (its content is not {', '.join(FORMATS)}, or a variant "
            "that decodes slowly): convert it to PNG."
        ) from error
    except Exception as error:  # a damaged file may raise anything
        reason = getattr(error, "strerror", None) or printable(str(error)) or type(error).__name__
        raise DataError(f"{name} cannot be read as a picture ({reason}).") from error


def is_in_memory(source: object) -> bool:
    """Whether it is a picture of Pillow or an array."""
    return hasattr(source, "__array_interface__")


def _decoded(content: bytes, size: ImageSize, fit: Fit, scale: tuple[float, float] | None) -> Picture:
    from PIL import Image, UnidentifiedImageError

    # In memory, since Pillow asks for as many bytes as a file declares, which a file would reserve before reading.
    with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
        for tile in getattr(picture, "tile", ()):
            if tile[0] in Image.DECODERS:  # those in Python
                raise UnidentifiedImageError(tile[0])
        if picture.format in ("JPEG", "MPO"):  # each scan may have 75 bytes, and takes the time of a complete picture
            scans = _count_scans(content)
            if scans * (picture.width * picture.height + 10**5) > SCANNED_PIXELS:
                raise ValueError(f"it has {scans:,} scans")
        return _converted(picture, size, fit, scale)


def _count_scans(content: bytes) -> int:
    """Scans of a JPEG, from marker to marker up to its end: thumbnails before and films behind it are none."""
    scans, at = 0, 2
    while (marker := _MARKER.search(content, at)) and marker[0] != b"\xff\xd9":
        scans += marker[0] == b"\xff\xda"
        at = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2], "big")
    return scans


def _converted(picture: Image, size: ImageSize, fit: Fit, scale: tuple[float, float] | None) -> Picture:
    from PIL import Image, ImageOps

    width, height = picture.size
    if width * height > LARGEST_PIXELS:
        raise ValueError(f"it has {width:,} x {height:,} pixels; at most {LARGEST_PIXELS:,} are read")
    target, notes = both(size)[::-1], []
    if getattr(picture, "is_animated", False):  # a file of 17 MB can have a million, and counting them takes 10 s
        notes.append("the first of several frames")
    least = 4 * max(target)  # a JPEG is decoded at an eighth, a quarter or a half of its size if that is large enough
    picture.draft(None, (least, least))
    picture.load()  # this already turns a TIFF upright
    upright, is_turned = _upright(picture)
    if is_turned:
        width, height = height, width
    if upright.mode.startswith("I"):
        upright = upright.convert("I")  # Pillow cannot reduce 16 bits
    values = _values(upright) if upright.mode in ("I", "F") else None
    plain = _to_rgb(upright, least, scale or (values and full_scale(values)), notes)
    inside = _largest(target, plain.size) if fit == "pad" else target
    image = plain.resize(inside, Image.Resampling.LANCZOS, _used(plain.size, target, fit), reducing_gap=3.0)
    if image.size != target:
        image = ImageOps.pad(image, target, color=GREY)
    return Picture(np.asarray(image), (width, height), _used((width, height), target, fit), tuple(notes), fit, values)


def _used(size: tuple[int, int], target: tuple[int, int], fit: Fit) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of a picture of this width and height that is used."""
    width, height = _largest(size, target) if fit == "crop" else size
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return left, top, left + width, top + height


def _largest(inside: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the largest rectangle inside another one with the proportions of a third, `shape`."""
    (width, height), (across, down) = inside, shape
    return min(width, max(1, round(height * across / down))), min(height, max(1, round(width * down / across)))


def read_pictures(
    places: Places, size: ImageSize = 32, fit: Fit = "crop", *, progress: Progress = SILENT
) -> PictureFiles:
    """Read files, all pictures in folders, and pictures in memory, also uint8 (N, H, W, 3), each once.

    A listed file is read whatever its ending; a bad one does not stop the others. Pictures in memory are named by their
    position, such as `picture 1`. The other arguments are those of `read_picture`. A `DataError` if nothing is listed,
    or an entry is neither a path nor a picture.
    """
    single = isinstance(places, str | os.PathLike) or (is_in_memory(places) and np.ndim(cast(Any, places)) < 4)
    named = [cast(Place, places)] if single or not hasattr(places, "__iter__") else list(cast(Sequence[Place], places))
    if not named:
        raise DataError("There is no picture: pass at least one file or folder.")
    sources: dict[str, Place] = {}
    names, pictures, bad = [], [], []
    for number, source in enumerate(named, 1):
        if is_in_memory(source):
            sources[f"picture {number}"] = source
        elif not isinstance(source, str | os.PathLike):
            raise DataError(
                "Pictures must be files, folders, pictures of Pillow, or uint8 arrays (H, W, 3) "
                f"(got a {type(source).__name__}): pass one of these, or a list of them."
            )
        elif (path := expanded(os.fspath(source))).is_dir():
            inside = find_pictures(path, Counter())
            sources.update((str(file), file) for file in inside)
            if not inside:
                bad.append(f"{printable(str(source))} is a folder without pictures.")
        else:
            sources[str(path)] = path
    for done, (name, picture) in enumerate(zip(sources, read_all(list(sources.values()), size, fit), strict=True), 1):
        if isinstance(picture, DataError):
            bad.append(str(picture))
        else:
            pictures.append(picture)
            names.append(os.fsencode(name).decode("utf-8", "replace"))
        progress.update("reading pictures", done, len(sources))
    return PictureFiles(tuple(names), tuple(pictures), tuple(bad))


def read_all(
    places: Sequence[Place], size: ImageSize, fit: Fit, scale: tuple[float, float] | None = None
) -> Iterator[Picture | DataError]:
    """The pictures, read in threads, in their order; for each that cannot be read, its error."""

    def read(source: Place) -> Picture | DataError:
        try:
            return read_picture(source, size, fit, scale)
        except DataError as error:
            return error

    # Pillow decodes and resizes outside Python's lock, so threads are enough; they end before any training begins.
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1), "pictures") as pool:
        warnings.simplefilter("ignore")  # of damaged metadata, one for each picture
        for part in slices(len(places), PART):  # all at once, a million would wait in 2 GB, and Ctrl-C for all
            yield from pool.map(read, places[part])


def unreadable(bad: Sequence[str], count: int, folder: str = "") -> DataError:
    """The error that names all files that cannot be read at once; `folder` is where they are, such as ` in pets`."""
    more = f"\n  and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    lines = "\n  ".join(bad[:NAMED])
    return DataError(
        f"{len(bad)} of {count} files{folder} cannot be read as pictures:\n  {lines}{more}\nRepair or remove them."
    )


def _upright(picture: Image) -> tuple[Image, bool]:
    """A loaded picture turned by its EXIF orientation, and whether its width and height have changed places."""
    from PIL.Image import Transpose

    try:
        orientation = picture.getexif().get(0x0112)
    except Exception:  # damaged EXIF may raise anything; the pixels are intact
        return picture, False
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
    }  # fmt: skip
    if orientation not in turns:
        return picture, False
    return picture.transpose(turns[orientation]), orientation >= 5


def _values(picture: Image) -> Values:
    low, high = (float(cast(float, value)) for value in picture.getextrema())
    if not np.isfinite((low, high)).all():
        raise ValueError("some of its values are not finite")
    return Values(picture.mode == "F", low, high)


def full_scale(values: Values) -> tuple[float, float]:
    """Black and white for these values."""
    usual = FULL_SCALES if values.floats else FULL_SCALES[1:]
    if values.low >= 0 and values.high <= usual[-1]:
        return 0.0, next(white for white in usual if values.high <= white)
    return values.low, values.high


def describe_scale(scale: tuple[float, float], floats: bool) -> str:
    """Such as `12 bits in a 16-bit file scaled to 8`."""
    low, high = scale
    if low or high not in FULL_SCALES:
        return f"values from {low:g} to {high:g} stretched to 8 bits"
    if floats:
        return f"floats from 0 to {high:g} scaled to 8 bits"
    bits = int(high).bit_length()
    return f"{bits} bits{'' if bits == 16 else ' in a 16-bit file'} scaled to 8"


def _to_rgb(picture: Image, least: int, scale: tuple[float, float] | None, notes: list[str]) -> Image:
    """The picture in mode RGB; each conversion is added to `notes`.

    Where the conversion takes several copies, the picture is reduced first if `least` pixels remain.
    """
    from PIL import Image

    if picture.mode in ("I", "F"):
        low, high = cast("tuple[float, float]", scale)
        notes.append(describe_scale((low, high), picture.mode == "F"))
        values = np.asarray(_reduced(picture, least), np.float64)
        scaled = ((values - low) * (255 / max(high - low, 1e-300))).round().clip(0, 255)
        return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        with_alpha = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        if with_alpha.getchannel("A").getextrema() != (255, 255):
            notes.append("transparency replaced by grey")
        small = _reduced(with_alpha, least)
        return Image.alpha_composite(Image.new("RGBA", small.size, (*GREY, 255)), small).convert("RGB")
    if picture.mode not in ("RGB", "L", "P", "1"):
        notes.append(f"{picture.mode} converted to RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _reduced(picture: Image, least: int) -> Image:
    """The picture reduced by an integer factor to no less than `least` pixels, as in decoding a JPEG."""
    factor = min(picture.size) // least
    return picture.reduce(factor) if factor > 1 else picture


def find_pictures(folder: Path, skipped: Counter[str]) -> list[Path]:
    """The pictures of a folder and of those within it, by name; other visible files are counted by reason."""

    def refuse(error: OSError) -> None:
        raise error

    pictures = []
    for parent, folders, files in os.walk(folder, onerror=refuse):
        visible = [name for name in folders if name[0] != "."]
        folders[:] = [name for name in visible if name.lower() not in OTHER_PROGRAMS]
        skipped["folders of other programs"] += len(visible) - len(folders)
        skipped["links to folders"] += sum(Path(parent, name).is_symlink() for name in folders)
        for path in (Path(parent, name) for name in files if name[0] != "."):
            suffix = path.suffix.lower()
            if suffix in picture_suffixes():
                pictures.append(path)
            else:
                skipped[printable(suffix) or "without an ending"] += 1
    return sorted(pictures)
