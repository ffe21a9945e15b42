"""Image folders: a data set of the user's own, read in parallel and kept decoded for the next start."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from seefar.data.download import user_cache
from seefar.data.images import Data, Images, Split
from seefar.data.layout import File, read_layout
from seefar.data.pictures import Picture, read_picture, unreadable
from seefar.errors import DataError, RunError
from seefar.output import printable
from seefar.progress import Progress, showing
from seefar.runs.arrays import load_array
from seefar.runs.files import read_json, write_text, written_beside

FORM = "1"
"""Part of the key of what is kept: raise it when pictures are made into images in another way."""
PART = 1_000
"""So many pictures wait for a thread at once."""
KEPT = 8
"""So many decoded data sets are kept; the one used longest ago goes first."""


def load_folder(
    folder: str | Path,
    image_size: int = 32,
    *,
    seed: int = 0,
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> Data:
    """Read a folder of pictures by class; every picture becomes RGB of `image_size` x `image_size` pixels.

    The folder holds `train/<class>/` and `test/<class>/` (or `val/<class>/`), or only class folders, of which a fifth
    of the pictures is set aside for the test. Every format that Pillow reads is read, also in folders within a class
    folder; `read_picture` says what becomes of sizes and modes. The decoded images are kept and mapped into memory the
    next time, as long as names, sizes and times of the files are the same. A picture that is replaced by one of the
    same size and time is noticed where the system keeps when a file was last changed, which Windows does not.

    Args:
        folder: the data folder.
        image_size: height and width in pixels, 16 to 96.
        seed: what the test images are chosen by where the folder does not say.
        cache: where decoded images are kept. Default: SEEFAR_CACHE, else the user's cache folder.
        progress: see `seefar.progress`. Each of the data's `notes` is a line.

    Raises:
        DataError: classes or pictures are missing, or some files cannot be read; all of them are named.
    """
    if not 16 <= image_size <= 96:
        raise DataError(f"image_size is {image_size}: images of 16 to 96 pixels can be used.")
    folder = Path(folder)
    layout = read_layout(folder, seed)
    files = (*layout.train, *layout.test)
    with showing(progress) as shown:
        images, cropped = _decoded(folder, files, image_size, Path(cache) if cache else cache_folder(), shown)
        notes = layout.notes
        if cropped:
            notes += (f"{cropped} of {len(files)} pictures are not square: of these the centre square is used",)
        for note in notes:
            shown.line(f"{printable(str(folder))}: {note}")
    parts = []
    for own, start in ((layout.train, 0), (layout.test, len(layout.train))):
        names = tuple(os.fsencode(file.name).decode("utf-8", "replace") for file in own)
        labels = np.array([file.label for file in own], dtype=np.int64)
        parts.append(Split(images[start : start + len(own)], labels, layout.classes, files=names))
    return Data(str(folder), parts[0], parts[1], notes)


def cache_folder() -> Path:
    """Where decoded pictures are kept: the environment variable SEEFAR_CACHE, else the user's cache folder."""
    return Path(os.environ.get("SEEFAR_CACHE") or user_cache()) / "pictures"


def _decoded(folder: Path, files: Sequence[File], image_size: int, cache: Path, shown: Progress) -> tuple[Images, int]:
    """All pictures as uint8 (N, size, size, 3), and how many of them were not square."""
    import PIL

    key = hashlib.sha256(f"{FORM} {PIL.__version__} {image_size}\n".encode())
    for file in files:
        key.update(os.fsencode(f"{file.name}\0{file.size} {file.times}\n"))
    stem = cache / key.hexdigest()[:40]
    shape = (len(files), image_size, image_size, 3)
    kept, about = stem.with_suffix(".npy"), stem.with_suffix(".json")
    with suppress(OSError, ValueError, KeyError, TypeError, OverflowError):  # not there, or not whole: decode anew
        found = read_json(about)
        cropped = int(found["cropped"])
        images = load_array(kept, mmap_mode="c")  # what is written to it stays in memory
        fits = images.shape == shape and images.dtype == np.uint8 and images.flags.c_contiguous
        if fits and found["crc32"] == zlib.crc32(images.data):
            with suppress(OSError):
                os.utime(about)
            return images, cropped
    images = np.empty(shape, np.uint8)
    cropped = _decode(folder, files, image_size, images, shown)
    with suppress(RunError, OSError):  # a home that is full or cannot be written to: the next start decodes again
        with written_beside(kept) as beside:
            np.save(beside, images)
        write_text(
            about, json.dumps({"cropped": cropped, "crc32": zlib.crc32(images.data)}) + "\n"
        )  # last, so that it stands for a whole array
        _forget_oldest(cache)
    return images, cropped


def _decode(folder: Path, files: Sequence[File], image_size: int, images: Images, shown: Progress) -> int:
    """Read all pictures into `images`; the number of those that were not square."""
    bad: list[str] = []
    cropped = 0

    def read(file: File) -> Picture | DataError:
        try:
            return read_picture(folder / file.name, image_size)
        except DataError as error:
            return error

    # Pillow decodes and resizes outside Python's lock, so threads are enough; they end before any training begins.
    with warnings.catch_warnings(), ThreadPoolExecutor(_threads(), "pictures") as pool:
        warnings.simplefilter("ignore")  # of damaged metadata, one for each picture
        try:
            for start in range(0, len(files), PART):  # all at once, a million files would wait in 2 GB
                for number, found in enumerate(pool.map(read, files[start : start + PART]), start):
                    if isinstance(found, DataError):
                        bad.append(str(found))
                    else:
                        images[number] = found.image
                        cropped += found.is_cropped
                    shown.update("reading pictures", number + 1, len(files))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest
            raise
    if bad:
        raise unreadable(bad, len(files), f" in {printable(str(folder))}")
    return cropped


def _forget_oldest(cache: Path) -> None:
    newest_first = sorted(cache.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for about in newest_first[KEPT:]:
        about.unlink(missing_ok=True)
        about.with_suffix(".npy").unlink(missing_ok=True)


def _threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, cores)
