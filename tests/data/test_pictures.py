"""Files and pictures in memory, of every mode, become upright, opaque RGB of one size; nothing else refuses them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seefar.data.pictures import picture_suffixes, read_picture, read_pictures
from seefar.errors import DataError

PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int, bits: int = 8, colours: int = 0) -> bytes:
    return PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0))


def test_every_usual_format_is_read(tmp_path: Path) -> None:
    assert {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"} <= picture_suffixes()
    for suffix in (".png", ".jpg", ".webp", ".bmp", ".gif", ".tif", ".ppm", ".tga", ".jp2", ".avif"):
        if suffix in picture_suffixes():
            Image.new("RGB", (20, 20), (255, 0, 0)).save(tmp_path / f"a{suffix}")
            found = read_picture(tmp_path / f"a{suffix}", 16)
            assert found.image.shape == (16, 16, 3)
            assert np.abs(found.image.astype(int) - [255, 0, 0]).max() <= 4, suffix


def test_the_centre_square_is_taken_and_recorded() -> None:
    """A picture with stripes of 10 pixels: red, green, blue, white; the middle two are its centre square."""
    stripes = np.uint8([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]).repeat(10, 0)[None].repeat(20, 0)
    found = read_picture(stripes, 20)
    np.testing.assert_array_equal(found.image, stripes[:, 10:30])
    assert (found.original, found.crop, found.cut_off) == ((40, 20), (10, 0, 30, 20), 0.5)
    assert found.describe() == "40x20 pixels, the centre, columns 10 to 29 and rows 0 to 19, resized to 20x20"
    assert read_picture(stripes, 20, "pad").describe() == "40x20 pixels, all of it on grey of 20x20"


def test_resizing_averages() -> None:
    """Without antialiasing a fine chequerboard becomes black, white or a pattern; with it, grey."""
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    assert np.abs(read_picture(board, 32).image.astype(int) - 127).max() <= 3


def test_a_large_photograph_is_cropped_in_its_own_pixels(tmp_path: Path) -> None:
    """JPEGs are decoded at a part of their size, which the record does not show; the picture stays as it is."""
    Image.new("RGB", (3000, 2000), (10, 200, 30)).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as picture:  # one that is not decoded yet
        found = read_picture(picture, 32)
        assert (found.original, found.crop) == ((3000, 2000), (500, 0, 2500, 2000))
        assert picture.size == (3000, 2000)


def test_numbers_without_a_known_scale_are_stretched(tmp_path: Path) -> None:
    Image.fromarray(np.tile(np.float32([-1000, 0, 1000, 3000]), (4, 1))).save(tmp_path / "a.tif")
    found = read_picture(tmp_path / "a.tif", 4)
    assert found.image[0, :, 0].tolist() == [0, 64, 128, 255]
    assert found.notes == ("values from -1000 to 3000 stretched to 8 bits",)


@pytest.mark.parametrize(("white", "bits"), [(255, 8), (1000, 10), (4095, 12), (4096, 14), (16383, 14), (16384, 16)])
def test_white_is_the_smallest_usual_one(tmp_path: Path, white: int, bits: int) -> None:
    Image.fromarray(np.full((16, 16), white, np.uint16)).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png", 16)
    assert found.image[0, 0, 0] == round(white * 255 / (2**bits - 1))
    assert found.notes[0].startswith(f"{bits} bits")
    assert read_picture(tmp_path / "a.png", 16, scale=(0, 65535)).image[0, 0, 0] == round(white / 257)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_grey(tmp_path: Path, mode: str) -> None:
    """The colour under a transparent pixel is what an editor left there, and no one sees it."""
    glass = Image.new("RGBA", (16, 16), (255, 255, 255, 0))
    glass.paste((255, 255, 255, 255), (0, 0, 8, 16))
    glass.convert(mode).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png", 16)
    assert found.image[0, [0, -1], 0].tolist() == [255, 128]
    assert found.notes == ("transparency replaced by grey",)


@pytest.mark.parametrize(("bits", "white"), [(1, 1), (8, 255)])
def test_a_transparent_grey_is_laid_on_grey(bits: int, white: int) -> None:
    """A PNG of 16 x 16 grey pixels, black and white, one of which is transparent; or a value that does not occur."""
    row = b"\0" + int("".join(f"{value:0{bits}b}" for value in [0] * 8 + [white] * 8), 2).to_bytes(2 * bits, "big")
    for clear, expected in ((white, [0, 128]), (0, [128, 255]), *([(1, [0, 255])] if bits > 1 else [])):
        about = png_header(16, 16, bits) + chunk(b"tRNS", struct.pack(">H", clear))
        found = read_picture(about + chunk(b"IDAT", zlib.compress(16 * row)) + chunk(b"IEND", b""), 16)
        assert found.image[8, [2, 13], 0].tolist() == expected
        assert ("transparency replaced by grey" in found.notes) == (128 in expected)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])  # Pillow turns a TIFF by itself
@pytest.mark.parametrize(("turn", "size"), [(6, (20, 40)), (3, (40, 20))])
def test_exif_orientation_is_applied(tmp_path: Path, turn: int, size: tuple[int, int], suffix: str) -> None:
    lying = Image.new("RGB", (40, 20), (0, 0, 0))
    lying.paste((255, 255, 255), (0, 0, 40, 10))  # its upper half is white
    exif = Image.Exif()
    exif[0x0112] = turn
    lying.save(tmp_path / f"a{suffix}", exif=exif)
    found = read_picture(tmp_path / f"a{suffix}", 20)
    assert found.original == size
    white = found.image[:, 14:] if turn == 6 else found.image[14:]  # 6: its top is at the right; 3: upside down
    assert white.min() > 235


# ---- What is refused ----


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8\xff no picture",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        struct.pack("<HHHBBBBHHII", 0, 1, 1, 32, 32, 0, 0, 1, 32, 40, 22),  # an icon may hold a PNG of any size
        # Formats and variants that Pillow decodes in Python, pixel by pixel
        b"P2 2 2 255 1 2 3 4",
        b"qoif" + struct.pack(">IIBB", 2, 2, 3, 0) + b"\xc3" + bytes(7) + b"\x01",
        b"BM" + struct.pack("<IHHIIiiHHIIIIII", 64, 0, 0, 58, 40, 2, 1, 1, 8, 1, 6, 0, 0, 1, 0) + b"\0\0\0\0\2\0\0\1",
    ],
)
def test_unreadable_pictures_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png .*PNG"):
        read_picture(tmp_path / "a.png", 32)


@pytest.mark.parametrize("cut_off", [False, True])
def test_damaged_pixels_are_refused(tmp_path: Path, cut_off: bool) -> None:
    Image.effect_noise((64, 64), 100).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[content.index(b"IDAT") + 8] ^= not cut_off
    (tmp_path / "a.png").write_bytes(content[: 2000 if cut_off else None])
    with pytest.raises(DataError, match=r"a\.png cannot be read"):
        read_picture(tmp_path / "a.png", 16)


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (13_000, 13_000), (1, 50_000_001)])
def test_a_decompression_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    """A PNG of a few bytes that promises 169 megapixels; Pillow itself refuses 179."""
    with pytest.raises(DataError, match="pixels"):
        read_picture(png_header(width, height, colours=6) + chunk(b"IDAT", zlib.compress(bytes(100))), 32)


# ---- Several ----


def test_folders_and_files_are_read_and_what_is_bad_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pets/b.png", "pets/a.PNG", "pets/deep/c.png", "pets/.hidden/d.png", "pets/.e.png", "no_ending"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (255, 0, 0)).save(tmp_path / name, format="PNG")
    for name in ("pets/notes.txt", "broken.png"):
        (tmp_path / name).write_text("no picture")
    (tmp_path / "empty").mkdir()
    named = ["broken.png", "gone.png", "empty", "no_ending", "pets", "pets/b.png"]
    found = read_pictures([tmp_path / name for name in named], 16)
    names = [Path(name).relative_to(tmp_path).as_posix() for name in found.names]
    assert names == ["no_ending", "pets/a.PNG", "pets/b.png", "pets/deep/c.png"]
    assert [Path(bad.split(" ")[0]).name for bad in found.bad] == ["empty", "broken.png", "gone.png"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(read_pictures("~/no_ending", 16).pictures) == 1


def test_pictures_in_memory_are_read_as_files_are(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 40, 30, 3), dtype=np.uint8)
    Image.fromarray(noise[0]).save(tmp_path / "a.png")
    expected = read_picture(tmp_path / "a.png", 16).image
    for given in (noise[0], Image.fromarray(noise[0]), [noise[0]], noise[:1], tmp_path / "a.png", str(tmp_path)):
        found = read_pictures(given, 16)
        np.testing.assert_array_equal(found.pictures[0].image, expected)
        assert (len(found.names), found.bad) == (1, ())
    assert read_pictures(noise, 16).names == ("picture 1", "picture 2", "picture 3")
    (bad,) = read_pictures([np.zeros((2, 2, 7), np.uint8)], 16).bad
    assert "the picture cannot be read" in bad


@pytest.mark.parametrize("given", [None, [], [None], [[1, 2]]])
def test_neither_a_name_nor_a_picture_is_refused(given: object) -> None:
    with pytest.raises(DataError):
        read_pictures(given, 16)  # type: ignore[arg-type]
