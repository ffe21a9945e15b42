from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seefar.data.pictures import picture_suffixes, read_picture, read_pictures
from seefar.errors import DataError


def chunk(kind: bytes, body: bytes, damaged: bool = False) -> bytes:
    checksum = zlib.crc32(kind + body) ^ damaged
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def test_every_usual_format_is_read(tmp_path: Path) -> None:
    assert {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"} <= picture_suffixes()
    for suffix in (".png", ".jpg", ".webp", ".bmp", ".gif", ".tif", ".ppm", ".tga", ".jp2", ".avif"):
        if suffix in picture_suffixes():
            Image.new("RGB", (20, 20), (255, 0, 0)).save(tmp_path / f"a{suffix}")
            found = read_picture(tmp_path / f"a{suffix}", 16)
            assert found.image.shape == (16, 16, 3)
            assert np.abs(found.image.astype(int) - [255, 0, 0]).max() <= 4, suffix


def test_the_centre_square_is_taken_and_recorded(tmp_path: Path) -> None:
    """A picture with stripes of 10 pixels: red, green, blue, white; the middle two are its centre square."""
    stripes = np.zeros((20, 40, 3), np.uint8)
    for left, colour in zip((0, 10, 20, 30), ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)), strict=True):
        stripes[:, left : left + 10] = colour
    Image.fromarray(stripes).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png", 20)
    np.testing.assert_array_equal(found.image, stripes[:, 10:30])
    assert (found.original, found.crop, found.cut_off) == ((40, 20), (10, 0, 30, 20), 0.5)
    assert found.describe() == "40x20 pixels, the centre, columns 10 to 29 and rows 0 to 19, resized to 20x20"


def test_resizing_averages(tmp_path: Path) -> None:
    """Without antialiasing a fine chequerboard becomes black, white or a pattern; with it, grey."""
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "a.png")
    assert np.abs(read_picture(tmp_path / "a.png", 32).image.astype(int) - 127).max() <= 3


def test_a_large_photograph_is_cropped_in_its_own_pixels(tmp_path: Path) -> None:
    """JPEGs are decoded at a part of their size, which the record does not show."""
    Image.new("RGB", (3000, 2000), (10, 200, 30)).save(tmp_path / "a.jpg")
    found = read_picture(tmp_path / "a.jpg", 32)
    assert (found.original, found.crop) == ((3000, 2000), (500, 0, 2500, 2000))


def test_numbers_without_a_known_scale_are_stretched(tmp_path: Path) -> None:
    values = np.tile(np.float32([-1000, 0, 1000, 3000]), (4, 1))
    Image.fromarray(values).save(tmp_path / "a.tif")
    found = read_picture(tmp_path / "a.tif", 4)
    assert found.image[0, :, 0].tolist() == [0, 64, 128, 255]
    assert found.notes == ("values from -1000 to 3000 stretched to 8 bits",)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_grey(tmp_path: Path, mode: str) -> None:
    """The colour under a transparent pixel is what an editor left there, and no one sees it."""
    glass = Image.new("RGBA", (16, 16), (255, 255, 255, 0))
    glass.paste((255, 255, 255, 255), (0, 0, 8, 16))
    glass.convert(mode).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png", 16)
    assert found.image[0, 0].tolist() == [255, 255, 255]
    assert found.image[0, -1].tolist() == [128, 128, 128]
    assert found.notes == ("transparency laid on grey",)


def test_other_modes_become_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    assert read_picture(tmp_path / "a.tif", 16).image[0, 0].tolist() == [255, 0, 0]
    Image.new("L", (16, 16), 90).save(tmp_path / "b.png")
    assert read_picture(tmp_path / "b.png", 16).image[0, 0].tolist() == [90, 90, 90]
    Image.new("1", (16, 16), 1).save(tmp_path / "c.png")
    assert read_picture(tmp_path / "c.png", 16).image[0, 0].tolist() == [255, 255, 255]


def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path) -> None:
    red, blue = Image.new("RGB", (16, 16), (255, 0, 0)), Image.new("RGB", (16, 16), (0, 0, 255))
    red.save(tmp_path / "a.gif", save_all=True, append_images=[blue, red])
    found = read_picture(tmp_path / "a.gif", 16)
    assert found.image[0, 0].tolist() == [255, 0, 0]
    assert found.notes == ("the first of several frames",)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])  # Pillow turns a TIFF by itself
@pytest.mark.parametrize(("turn", "size"), [(6, (20, 40)), (3, (40, 20))])
def test_a_picture_is_turned_as_its_camera_meant_it(
    tmp_path: Path, turn: int, size: tuple[int, int], suffix: str
) -> None:
    lying = Image.new("RGB", (40, 20), (0, 0, 0))
    lying.paste((255, 255, 255), (0, 0, 40, 10))  # its upper half is white
    exif = Image.Exif()
    exif[0x0112] = turn
    lying.save(tmp_path / f"a{suffix}", exif=exif)
    found = read_picture(tmp_path / f"a{suffix}", 20)
    assert found.original == size
    white = found.image[:, 14:] if turn == 6 else found.image[14:]  # 6: its top is at the right; 3: upside down
    assert white.min() > 235


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xd8\xff no picture", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]
)
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png cannot be read as a picture \(its content has no picture format\)"):
        read_picture(tmp_path / "a.png", 32)
    with pytest.raises(DataError, match=r"b\.png is missing"):
        read_picture(tmp_path / "b.png", 32)


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (13_000, 13_000), (1, 50_000_001)])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path, width: int, height: int) -> None:
    """A PNG of a few bytes that promises 169 megapixels; Pillow itself refuses 179."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))))
    with pytest.raises(DataError, match=r"a\.png has .* pixels"):
        read_picture(tmp_path / "a.png", 32)


def test_a_picture_with_a_picture_inside_is_not_opened(tmp_path: Path) -> None:
    """The header of an icon may promise 32x32 pixels and hold a PNG of a hundred megapixels."""
    Image.new("RGB", (32, 32)).save(tmp_path / "a.ico")
    with pytest.raises(DataError, match="no picture format"):
        read_picture(tmp_path / "a.ico", 32)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """A pipe without a writer would be waited for without end."""
    os.mkfifo(tmp_path / "x.png")
    (tmp_path / "link.png").symlink_to("/dev/zero")
    for name in ("x.png", "link.png"):
        with pytest.raises(DataError, match=f"{name} cannot be read"):
            read_picture(tmp_path / name, 32)
    assert len(read_pictures(tmp_path, 32).bad) == 2


@pytest.mark.parametrize("mode", ["RGBA", "I", "F", "I;16"])
def test_a_large_picture_is_made_small_before_it_is_converted(tmp_path: Path, mode: str) -> None:
    """1,024 pixels on a side to 16: reduced by 16 to 64 first. The same pixels as without, but for rounding."""
    ramp = np.add.outer(np.arange(1024), np.arange(1024)) * 25  # 0 to 51,150
    if mode == "RGBA":
        opaque = Image.fromarray((ramp // 256).astype(np.uint8)).convert("RGBA")
        opaque.putalpha(Image.fromarray(np.where(ramp > 25_000, 255, 0).astype(np.uint8)))
        opaque.save(tmp_path / "a.tif")
    else:
        values = {"I": ramp.astype(np.int32), "F": (ramp / 65535).astype(np.float32), "I;16": ramp.astype(np.uint16)}
        Image.fromarray(values[mode]).save(tmp_path / "a.tif")
    found = read_picture(tmp_path / "a.tif", 16)
    assert (found.original, found.crop) == ((1024, 1024), (0, 0, 1024, 1024))
    blocks = ramp.reshape(16, 64, 16, 64)
    grey = np.where(blocks > 25_000, blocks // 256, 128) if mode == "RGBA" else blocks * (255 / 65535)
    np.testing.assert_allclose(
        found.image[1:-1, 1:-1, 0], grey.mean((1, 3))[1:-1, 1:-1], atol=6 if mode == "RGBA" else 1
    )


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


# ---- Nothing beside the pixels refuses a picture ----


@pytest.mark.parametrize(
    "beside",
    [
        chunk(b"tEXt", b"Comment\0whatever", damaged=True),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2_000_000))),  # more text than Pillow reads
        chunk(b"iCCP", b"profile\0\0 no compressed profile"),
        chunk(b"gAMA", b"", damaged=True),
        chunk(b"eXIf", b"II*\0 no exif"),
        chunk(b"eXIf", b"II*\0", damaged=True),
    ],
    ids=["checksum", "long text", "profile", "gamma", "exif", "exif checksum"],
)
@pytest.mark.parametrize("after", [False, True])
def test_a_png_is_read_whatever_is_beside_its_pixels(tmp_path: Path, beside: bytes, after: bool) -> None:
    Image.new("RGB", (20, 20), (255, 0, 0)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    place = content.index(b"IEND") - 4 if after else 33  # the end, or after the header
    (tmp_path / "a.png").write_bytes(content[:place] + beside + content[place:])
    assert read_picture(tmp_path / "a.png", 16).image[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("cut_off", [False, True])
def test_damaged_pixels_are_refused(tmp_path: Path, cut_off: bool) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[content.index(b"IDAT") + 8] ^= not cut_off
    (tmp_path / "a.png").write_bytes(content[: 4000 if cut_off else None])
    with pytest.raises(DataError, match=r"a\.png cannot be read"):
        read_picture(tmp_path / "a.png", 16)


@pytest.mark.parametrize("odd", [(0x9204, 10, 1, struct.pack("<ii", -1, 0)), (0x100, 11, 1, struct.pack("<f", 40.5))])
def test_a_photograph_with_an_odd_exif_value_is_turned(tmp_path: Path, odd: tuple[int, int, int, bytes]) -> None:
    entries = [odd, (0x112, 3, 1, struct.pack("<H", 8))]
    head, extra = b"", b""
    for tag, kind, count, value in entries:
        if len(value) > 4:
            value, extra = struct.pack("<I", 8 + 2 + 24 + 4 + len(extra)), extra + value
        head += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + head + bytes(4) + extra
    lying = Image.new("RGB", (40, 24), "black")
    lying.paste("white", (0, 0, 40, 12))
    lying.save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:])
    found = read_picture(tmp_path / "a.jpg", 24)
    assert found.original == (24, 40)
    assert found.image[12, 2].min() > 240  # 8: its top is at the left
    assert found.image[12, 21].max() < 15


# ---- Transparency and scale come from the file ----


def grey_png(path: Path, bits: int, left: int, right: int, clear: int) -> Path:
    """A PNG of 16 x 16 grey pixels of this many bits: two values, one of which is transparent."""
    row = b"\0" + int("".join(f"{value:0{bits}b}" for value in [left] * 8 + [right] * 8), 2).to_bytes(2 * bits, "big")
    header = struct.pack(">IIBBBBB", 16, 16, bits, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"tRNS", struct.pack(">H", clear)) + chunk(b"IDAT", zlib.compress(16 * row))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize(("bits", "white"), [(1, 1), (2, 3), (4, 15), (8, 255), (16, 65535)])
def test_a_transparent_grey_is_laid_on_grey_at_any_depth(tmp_path: Path, bits: int, white: int) -> None:
    for clear, expected in ((white, [0, 128]), (0, [128, 255])):
        found = read_picture(grey_png(tmp_path / "a.png", bits, 0, white, clear), 16)
        assert found.image[8, [2, 13], 0].tolist() == expected
        assert "transparency laid on grey" in found.notes
    if bits > 1:  # a value that does not occur
        found = read_picture(grey_png(tmp_path / "a.png", bits, 0, white, 1), 16)
        assert found.image[8, [2, 13], 0].tolist() == [0, 255]


@pytest.mark.parametrize(("white", "bits"), [(255, 8), (1000, 10), (4095, 12), (4096, 14), (16383, 14), (16384, 16)])
def test_white_is_the_smallest_usual_one(tmp_path: Path, white: int, bits: int) -> None:
    Image.fromarray(np.full((16, 16), white, np.uint16)).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png", 16)
    assert found.image[0, 0, 0] == round(white * 255 / (2**bits - 1))
    assert found.notes[0].startswith(f"{bits} bits")
    assert read_picture(tmp_path / "a.png", 16, scale=(0, 65535)).image[0, 0, 0] == round(white / 257)


# ---- Pictures in memory ----


def test_pictures_in_memory_are_read_as_files_are(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 40, 30, 3), dtype=np.uint8)
    Image.fromarray(noise[0]).save(tmp_path / "a.png")
    expected = read_picture(tmp_path / "a.png", 16).image
    for given in (noise[0], Image.fromarray(noise[0]), [noise[0]], noise[:1], tmp_path / "a.png", str(tmp_path)):
        found = read_pictures(given, 16)
        np.testing.assert_array_equal(found.pictures[0].image, expected)
        assert (len(found.names), found.bad) == (1, ())
    assert read_pictures(noise, 16).names == ("picture 1", "picture 2", "picture 3")
    grey = read_pictures([noise[0, ..., 0]], (16, 24)).pictures[0].image
    assert grey.shape == (16, 24, 3)
    assert (grey == grey[..., :1]).all()


@pytest.mark.parametrize("given", [None, 3, [], [None], [[1, 2]]])
def test_what_is_neither_a_name_nor_a_picture_is_refused(given: object) -> None:
    with pytest.raises(DataError):
        read_pictures(given, 16)  # type: ignore[arg-type]


def test_an_array_of_another_shape_is_named() -> None:
    (bad,) = read_pictures([np.zeros((2, 2, 7), np.uint8)], 16).bad
    assert "the picture cannot be read" in bad


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    picture(tmp_path / "a.png")
    assert len(read_pictures("~/a.png", 16).pictures) == len(read_pictures(["~"], 16).pictures) == 1
