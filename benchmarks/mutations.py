"""Mutations that know the format of a file: headers, lengths, types, shapes, JSON fields, bombs, hostile pickles.

Each takes a random generator and a valid content, and gives another content. None of them knows seefar.
"""

from __future__ import annotations

import copy
import io
import json
import pickle
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

Mutation = Callable[[random.Random, bytes], bytes]
EDGES = (0, 1, -1, 2, 127, 128, 255, 256, 65535, 2**31 - 1, -(2**31), 2**32, 2**53, 2**63 - 1, -(2**63), 2**64)
VALUES: tuple[Any, ...] = (
    *EDGES, 10**400, 0.0, -0.5, 1e308, float("nan"), float("inf"), True, False, None, "", "x" * 5000, "\x1b[31mred",
    "<script>alert(1)</script>", "\ud800", "../../etc/passwd", "nan", [], {}, [[]], [None], {"a": 1}, [1, 2, 3] * 50,
)  # fmt: skip


class Trap:
    """Unpickled without care it makes the file `hostile` in the working folder."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, ("open('hostile', 'w').close()",)


def raw(rng: random.Random, content: bytes) -> bytes:
    """Flipped bits, cuts, repeated or foreign stretches, lengths set to odd values: of any content."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        at = rng.randrange(len(data)) if data else 0
        match rng.randrange(9):
            case 0 | 1:
                if data:
                    data[at] ^= 1 << rng.randrange(8)
            case 2:
                del data[at:]
            case 3:
                del data[at : at + rng.choice((1, 2, 8, 100))]
            case 4:
                data[at:at] = rng.randbytes(rng.choice((1, 4, 100)))
            case 5:
                data[at:at] = data[at : at + rng.choice((4, 64, 1000))]
            case 6:
                data[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(EDGES) % 2**32)
            case 7:
                data[at : at + 8] = struct.pack(rng.choice("<>") + "Q", rng.choice(EDGES) % 2**64)
            case 8:
                data = data if rng.random() < 0.8 else bytearray(rng.choice((b"", b"\0" * 10**6, rng.randbytes(999))))
    return bytes(data)


def changed(rng: random.Random, value: Any) -> Any:
    """Plain values with one of them, somewhere within, changed, removed, repeated or renamed."""
    root = [copy.deepcopy(value)]
    part: Any = root
    key: Any = 0
    while isinstance(part[key], (dict, list)) and part[key] and rng.random() < 0.9:  # few fields are as likely as many
        part = part[key]
        key = rng.choice(sorted(part) if isinstance(part, dict) else range(len(part)))
    match rng.randrange(6):
        case 0 | 1 | 2:
            part[key] = rng.choice(VALUES)
        case 3:
            if part is not root:
                del part[key]
        case 4:
            if isinstance(part, dict):
                part[rng.choice(("", "x", str(key) + " ", "__class__"))] = part[key]
            else:
                part.insert(key, part[key])
        case 5:
            if isinstance(part[key], (int, float)) and not isinstance(part[key], bool):
                part[key] = rng.choice((-part[key], part[key] + 1, str(part[key]), [part[key]]))
    return root[0] if root else None


def json_text(rng: random.Random, content: bytes) -> bytes:
    """One value of a JSON text changed, or its nesting made absurd."""
    if rng.random() < 0.03:
        return rng.choice(
            (b"[" * 200_000, b'{"a":' * 100_000, b"9" * 10_000, b"\xef\xbb\xbf" + content, b"null", b"[]")
        )
    return json.dumps(changed(rng, json.loads(content)), indent=rng.choice((None, 2))).encode("utf-8", "surrogatepass")


def csv_text(rng: random.Random, content: bytes) -> bytes:
    """One cell, line or column of a CSV changed."""
    rows = [line.split(",") for line in content.decode().split("\n")]
    row = rng.choice(rows)
    match rng.randrange(6):
        case 0 | 1:
            row[rng.randrange(len(row))] = str(rng.choice(VALUES)).encode("utf-8", "replace").decode()
        case 2:
            del row[rng.randrange(len(row))]
        case 3:
            rows.insert(rng.randrange(len(rows)), list(row))
        case 4:
            rows.remove(row)
        case 5:
            row[rng.randrange(len(row))] = rng.choice(('"', "\0", "\r", "\t1", "1_0", " 1 ", "0x10", "9" * 5000))
    return "\n".join(",".join(cells) for cells in rows).encode()


def npy(rng: random.Random, content: bytes) -> bytes:
    """The header of an .npy file changed: its type, its shape, its order; or its numbers."""
    length = struct.unpack("<H", content[8:10])[0]
    header, body = content[10 : 10 + length].decode("latin1"), bytearray(content[10 + length :])
    kind = header.split("'descr': ")[1].split(",")[0]
    shape = "(" + header.split("'shape': (")[1].split(")")[0] + ")"
    types = ("'<f4'", "'<f8'", "'<f2'", "'<i8'", "'|u1'", "'|b1'", "'|O'", "'<U1000000'", "'<M8[s]'", "'<c16'", "'|V0'",
             "[('a', '<i4')]", "'>f4'", "'>i8'", "5", "None", "'<U0'")  # fmt: skip
    shapes = ("()", "(0,)", "(1,)", "(-1,)", "(4611686018427387904,)", "(99999999999,)", "(2, 0, 4)", "(1,)*40", "'x'",
              "(0, 9223372036854775807)", "(3, 4, 5, 6, 7)", "(100000, 100000)", "(1.5,)", "None")  # fmt: skip
    match rng.randrange(5):
        case 0 | 1:
            header = header.replace(kind, rng.choice(types))
        case 2:
            header = header.replace(shape, rng.choice(shapes))
        case 3:
            header = rng.choice(("{}", "", "{'descr':", header.replace("False", "True"), "(" * 5000, "9" * 9000))
        case 4:
            special = rng.choice((b"\xff", b"\0", b"\x7f\x80\x00\x00"[::-1], b"\x80", b"\x00\x00\xc0\x7f"))
            for _ in range(rng.choice((1, 5, len(body)))):
                at = rng.randrange(max(1, len(body) // 8)) * 8
                body[at : at + len(special)] = special
    encoded = (header.rstrip() + "\n").encode("latin1")
    return content[:8] + struct.pack("<H", len(encoded)) + encoded + bytes(body)


def values(rng: random.Random, array: Any) -> Any:
    """An array of the same type with another number of rows, or other numbers or texts in it."""
    found = array.copy()
    size = len(found) if found.ndim else 0
    if size and rng.random() < 0.4:
        return np.resize(found, (rng.choice((0, 1, size - 1, size + 1, 1000)), *found.shape[1:]))
    if found.ndim > 1 and rng.random() < 0.2:
        return np.resize(found, (size, *(rng.choice((0, 1, 3, 50)) for _ in found.shape[1:])))
    odd: dict[str, tuple[Any, ...]] = {
        "i": (-1, -2, 3, 10**9, 2**62, -(2**63)),
        "f": (np.nan, np.inf, -np.inf, -1.0, 0.0, 2.0, 1e9, 1e38),
        "U": ("", "x", "\x1b[31mred", "<b>"),
        "b": (True, False),
        "u": (0, 34, 255),
    }
    wrong = rng.choice(odd[found.dtype.kind])
    if found.ndim and found.size and rng.random() < 0.7:
        found.reshape(-1)[rng.randrange(found.size)] = wrong
        return found
    return np.full_like(found, wrong)


def npz_values(rng: random.Random, content: bytes) -> bytes:
    """Arrays of an .npz, one or all of the same length, with other rows or values: whole, right by every checksum."""
    with np.load(io.BytesIO(content)) as archive:
        arrays = dict(archive)
    name = rng.choice(sorted(arrays))
    size = len(arrays[name]) if arrays[name].ndim else 0
    if size and rng.random() < 0.3:
        rows = rng.choice((0, 1, size - 1, size + 1, 1000))
        for one, array in arrays.items():
            if array.ndim and len(array) == size:
                arrays[one] = np.resize(array, (rows, *array.shape[1:]))
    else:
        arrays[name] = values(rng, arrays[name])
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    return packed.getvalue()


def npz(rng: random.Random, content: bytes) -> bytes:
    """A member of an .npz changed, its checksum made right again; or removed, doubled, pickled, or a bomb."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    compression = zipfile.ZIP_STORED
    match rng.randrange(9):
        case 0 | 1 | 2 | 3:
            members[name] = npy(rng, members[name])
        case 4:
            members[name] = raw(rng, members[name])
        case 5:
            del members[name]
        case 6:
            members[name] = pickle.dumps(Trap())
        case 7:
            members["../" + name] = members[name]
            members[name] = members[rng.choice(sorted(members))]
        case 8:
            return _bomb(members, min(members))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for one, data in members.items():
            archive.writestr(one, data)
    return packed.getvalue()


_BOMBS: dict[str, bytes] = {}


def _bomb(members: dict[str, bytes], name: str) -> bytes:
    """A member of 1.5 GiB of float32 zeros, in 7 MB."""
    key = repr((sorted(members), name))
    if key not in _BOMBS:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for one, data in members.items():
                if one != name:
                    archive.writestr(one, data)
            header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (402653184,), }\n"
            with archive.open(name, "w") as file:
                file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
                for _ in range(192):
                    file.write(bytes(8 << 20))
        _BOMBS[key] = packed.getvalue()
    return _BOMBS[key]


def tensors(rng: random.Random, content: bytes) -> bytes:
    """The header of a safetensors file changed: its length, a shape, a type, an offset, the metadata."""
    length = struct.unpack("<Q", content[:8])[0]
    header, body = json.loads(content[8 : 8 + length]), bytearray(content[8 + length :])
    name = rng.choice(sorted(set(header) - {"__metadata__"}))
    match rng.randrange(9):
        case 0:
            return struct.pack("<Q", rng.choice(EDGES) % 2**64) + content[8:]
        case 1:
            header[name]["shape"] = rng.choice(([], [0], [2**40], [2**62, 4], [-1], header[name]["shape"][::-1], "x"))
        case 2:
            header[name]["dtype"] = rng.choice(("F64", "F16", "BF16", "I64", "BOOL", "U8", "F8_E4M3", "X", "C64"))
        case 3:
            header[name]["data_offsets"] = rng.choice(([0, 0], [0, 2**62], [8, 4], [-1, 4], [0, len(body)], []))
        case 4 | 5:
            header["__metadata__"] = {
                key: json_text(rng, text.encode()).decode("utf-8", "replace") if rng.random() < 0.9 else "x"
                for key, text in header.get("__metadata__", {}).items()
            }
        case 6:
            other = rng.choice(sorted(set(header) - {"__metadata__"}))
            header[name], header[other] = header[other], header[name]
        case 7:
            at = rng.randrange(max(1, len(body) // 4)) * 4
            body[at : at + 4] = rng.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\x80\xff", b"\0\0\0\0"))
        case 8:
            header = changed(rng, header)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + bytes(body)


def pickled(rng: random.Random, content: bytes) -> bytes:
    """A batch of CIFAR-10 changed, or a pickle that would run code."""
    match rng.randrange(5):
        case 0:
            return pickle.dumps(Trap(), rng.choice((0, 2, 4)))
        case 1:
            lines = (b"cos\nsystem\n(S'touch hostile'\ntR.", b"cnumpy\nload\n(S'x'\ntR.", 
                     b"\x80\x02c__builtin__\neval\n.",
                     b"(lp0\n" * 20000, b"\x80\x04\x95" + b"\xff" * 8, b"I1\nI2\n.",
                     b"cnumpy\nndarray\n((I9999999999\nttR.",
                     b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n(I99999999999\ntU\x01btR.",
                     b"]\x94" + b"h\x00a" * 10, b"B\xff\xff\xff\x7f", b"j\xff\xff\xff\xff.", b"r\xff\xff\xff\x7f.",
                     b"(dp0\nI1\nI2\nsg0\n.")  # fmt: skip
            return rng.choice(lines)
    batch = pickle.loads(content, encoding="bytes")
    plain = {key: value if isinstance(value, list) else value.tolist() for key, value in batch.items()}
    if rng.random() < 0.5:
        return pickle.dumps(changed(rng, plain), 2)
    key = rng.choice(sorted(batch))
    value = batch[key]
    if isinstance(value, list):
        batch[key] = rng.choice((value[:-1], value + value, [0.5] * len(value), [-1] * len(value), [[0]], "abc", None))
    else:
        batch[key] = rng.choice((value[:-1], value[:, :-1], value.astype("f4") + 0.5, value.astype("i8") - 300,
                                 value.T, value.astype("O"), value[None], value.astype("U"), None))  # fmt: skip
    return pickle.dumps(batch, 2)


def archive(rng: random.Random, content: bytes) -> bytes:
    """A .tar.gz with a member renamed, made a link or a device, removed, or said to be huge."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(content)) as old, tarfile.open(fileobj=packed, mode="w:gz") as new:
        members = old.getmembers()
        chosen, kind = rng.choice(members), rng.randrange(7)
        for member in members:
            data = old.extractfile(member)
            text = data.read() if data else b""
            if member is chosen:
                if kind == 0:
                    continue
                if kind == 1:
                    member.name = rng.choice(("../../hostile", "/tmp/hostile", "", "a/" * 400))
                if kind in (2, 3):
                    member.type = tarfile.SYMTYPE if kind == 2 else tarfile.LNKTYPE
                    member.linkname = rng.choice(("/etc/passwd", member.name, "../hostile", members[0].name))
                    member.size, text = 0, b""
                if kind == 4:
                    member.type = rng.choice((tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE))
                    member.size, text = 0, b""
                if kind == 5:
                    text = bytes(200 << 20) if rng.random() < 0.01 else raw(rng, text)
                    member.size = len(text)
            new.addfile(member, io.BytesIO(text))
    if kind == 6:
        plain = bytearray(zlib.decompress(packed.getvalue(), 31))
        at = rng.randrange(len(members)) * 1024 + rng.randrange(512)
        plain[at : at + 12] = rng.choice((b"77777777777\0", b"\x80" + b"\xff" * 11, b"-1\0\0\0\0\0\0\0\0\0\0"))
        compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
        return compressor.compress(bytes(plain)) + compressor.flush()
    return packed.getvalue()


def picture(rng: random.Random, content: bytes) -> bytes:
    """A PNG with another header, checksum made right; other formats with their sizes changed."""
    if content[:4] != b"\x89PNG":
        data = bytearray(content)
        at = rng.randrange(min(200, len(data)))
        data[at : at + 2] = rng.choice((b"\xff\xff", b"\0\0", b"\x7f\xff", b"\xff\xd9"))
        return bytes(data)
    fields = list(struct.unpack(">IIBBBBB", content[16:29]))
    field = rng.randrange(7)
    fields[field] = rng.choice((0, 1, 100_000, 2**31 - 1, 2**32 - 1)) if field < 2 else rng.randrange(256)
    if rng.random() < 0.1:
        fields[:2] = [100_000, 100_000]
    header = b"IHDR" + struct.pack(">IIBBBBB", *fields)
    chunks = b""
    if rng.random() < 0.3:
        extra = rng.choice((b"tEXt", b"iCCP", b"eXIf", b"zTXt", b"acTL", b"tRNS", b"PLTE", b"gAMA"))
        body = rng.randbytes(rng.choice((0, 3, 50))) if rng.random() < 0.8 else b"a\0\0" + zlib.compress(bytes(1 << 26))
        chunks = struct.pack(">I", len(body)) + extra + body + struct.pack(">I", zlib.crc32(extra + body))
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + chunks + content[33:]
