"""Mutation fuzzing of the files that users bring: no traceback, hang, memory bomb, wrong data or code run.

    nice python benchmarks/fuzz.py [--count 1000] [--seed 0] [--targets "weights recipe"] > results/fuzz.json

Pictures, prediction files, and recipe, weights and manifest of a run folder are mutated `count` times each and read as
seefar reads them, in a child process with 1 GiB beyond what Python and torch have mapped, and 5 s of processor time for
one input. Allowed are the right result and a SeefarError that names the file. Everything else is an escape.
"""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
import resource
import select
import signal
import struct
import sys
import tempfile
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import seefar
from lab.measuring import arguments, print_result
from seefar.data.pictures import read_picture
from seefar.data.shapes import load_shapes
from seefar.errors import SeefarError
from seefar.evaluation.predictions import read_predictions
from seefar.model.inference import weights_fingerprint
from seefar.progress import SILENT
from seefar.runs.folder import verify
from seefar.training.run import load_run

MEMORY = 1 << 30  # bytes
SECONDS = 5  # of processor time
STUCK = 120  # seconds without news from a child: it hangs where no signal is handled
EDGES = (0, 1, -1, 2, 127, 128, 255, 65535, 2**31 - 1, 2**32, 2**53, 2**63 - 1, -(2**63), 2**64, 10**400)
VALUES: tuple[Any, ...] = (
    *EDGES, 0.0, -0.5, 1e308, float("nan"), float("inf"), True, None, "", "x" * 5000, "\x1b[31mred", "<script>",
    "\ud800", "../../etc/passwd", [], {}, [[]], [None], {"a": 1}, [1, 2, 3] * 50,
)  # fmt: skip
NPY_TYPES = (
    "'<f4'",
    "'<f8'",
    "'<i8'",
    "'|b1'",
    "'|O'",
    "'<U1000000'",
    "'<M8[s]'",
    "'|V0'",
    "[('a', '<i4')]",
    "5",
    "None",
)
NPY_SHAPES = ("()", "(0,)", "(-1,)", "(4611686018427387904,)", "(99999999999,)", "(2, 0, 4)", "(1,)*40", "'x'", "None")
Mutation = Callable[[random.Random, bytes], bytes]


class WrongError(Exception):
    """What was read is not what may be read."""


class HangError(BaseException):
    """It took too long. No Exception, so that nobody takes it for a damaged file."""


class Trap:
    """Unpickled without care it makes the file `hostile` in the working folder."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, ("open('hostile', 'w').close()",)


# ---- Mutations ----


def raw(rng: random.Random, content: bytes) -> bytes:
    """Flipped bits, cuts, repeated or foreign stretches, lengths set to odd values: of any content."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        at = rng.randrange(len(data)) if data else 0
        match rng.randrange(6):
            case 0 | 1 if data:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                del data[at : rng.choice((at + 1, at + 8, len(data)))]
            case 3:
                data[at:at] = rng.randbytes(rng.choice((1, 4, 100)))
            case 4:
                data[at : at + 8] = struct.pack(rng.choice("<>") + "Q", rng.choice(EDGES) % 2**64)
            case 5:
                data[at:at] = data[at : at + rng.choice((4, 64, 1000))]
    return bytes(data)


def changed(rng: random.Random, value: Any) -> Any:
    """Plain values with one of them, somewhere within, changed, removed or repeated."""
    root = [copy.deepcopy(value)]
    part: Any = root
    key: Any = 0
    while isinstance(part[key], (dict, list)) and part[key] and rng.random() < 0.9:
        part = part[key]
        key = rng.choice(sorted(part) if isinstance(part, dict) else range(len(part)))
    if rng.random() < 0.8 or part is root:
        part[key] = rng.choice(VALUES)
    else:
        del part[key]
    return root[0]


def json_text(rng: random.Random, content: bytes) -> bytes:
    """One value of a JSON text changed, or its nesting made absurd."""
    if rng.random() < 0.03:
        return rng.choice((b"[" * 200_000, b'{"a":' * 100_000, b"9" * 10_000, b"\xef\xbb\xbf" + content, b"null"))
    return json.dumps(changed(rng, json.loads(content))).encode("utf-8", "surrogatepass")


def csv_text(rng: random.Random, content: bytes) -> bytes:
    """One cell or line of a CSV changed."""
    rows = [line.split(",") for line in content.decode().split("\n")]
    row = rng.choice(rows)
    match rng.randrange(4):
        case 0 | 1:
            row[rng.randrange(len(row))] = str(rng.choice((*VALUES, '"', "\0", "\r", "1_0", "0x10")))
        case 2:
            del row[rng.randrange(len(row))]
        case 3:
            rows.insert(rng.randrange(len(rows)), list(row))
    return "\n".join(",".join(cells) for cells in rows).encode("utf-8", "replace")


def npy(rng: random.Random, content: bytes) -> bytes:
    """The header of an .npy file changed: its type, its shape; or a pickle in its place."""
    length = struct.unpack("<H", content[8:10])[0]
    header, body = content[10 : 10 + length].decode("latin1"), content[10 + length :]
    match rng.randrange(4):
        case 0:
            header = header.replace(header.split("'descr': ")[1].split(",")[0], rng.choice(NPY_TYPES))
        case 1:
            header = header.replace("(" + header.split("'shape': (")[1].split(")")[0] + ")", rng.choice(NPY_SHAPES))
        case 2:
            header = rng.choice(("{}", "", "{'descr':", header.replace("False", "True"), "(" * 5000, "9" * 9000))
        case 3:
            header, body = header.replace("'<f8'", "'|O'"), pickle.dumps(Trap())
    encoded = (header.rstrip() + "\n").encode("latin1")
    return content[:8] + struct.pack("<H", len(encoded)) + encoded + body


def tensors(rng: random.Random, content: bytes) -> bytes:
    """The header of a safetensors file changed: its length, a shape, a type, an offset, the metadata."""
    length = struct.unpack("<Q", content[:8])[0]
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    if rng.random() < 0.1:
        return struct.pack("<Q", rng.choice(EDGES) % 2**64) + content[8:]
    if rng.random() < 0.4:
        header["__metadata__"] = {
            key: json_text(rng, text.encode()).decode("utf-8", "replace")
            for key, text in header["__metadata__"].items()
        }
    else:
        header = changed(rng, header)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + body


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
    header = b"IHDR" + struct.pack(">IIBBBBB", *fields)
    chunks = b""
    if rng.random() < 0.3:
        kind, body = rng.choice((b"tEXt", b"iCCP", b"eXIf", b"zTXt", b"tRNS")), b"a\0\0" + zlib.compress(bytes(1 << 26))
        chunks = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + chunks + content[33:]


# ---- What is read, and what must be true of it ----


def check(is_right: object, what: str) -> None:
    """Raise WrongError unless it is right."""
    if not is_right:
        raise WrongError(what)


def make(home: Path) -> dict[str, tuple[Path, Callable[[Path], object], tuple[Mutation, ...]]]:
    """Every kind of file, valid, with what reads it and how it is mutated."""
    data = load_shapes(40, 20)
    tiny = seefar.recipe("demo", width=2, epochs=1, batch_size=16)
    run = seefar.run(tiny, data, home / "run", top=2, neighbours=False, progress=SILENT).run
    fingerprint = weights_fingerprint(run.model)

    def same_weights(path: Path) -> None:
        read = load_run(path.parent, "cpu")
        check(weights_fingerprint(read.model) == fingerprint, "other weights than were written")
        check(read.classes == data.classes and read.image_size == 32, "other classes or image size")

    def use(path: Path) -> None:
        verify(path.parent)
        check(len(seefar.evaluate_run(run, data, progress=SILENT).predictions.logits) == 20, "other images")

    def sane_predicted(path: Path) -> None:
        found, _ = read_predictions(path, data.classes, 20)
        check(found.shape == (20, 10) and bool(np.isfinite(found).all()), "no logits")

    def sane_picture(path: Path) -> None:
        found = read_picture(path, 32)
        check(found.image.shape == (32, 32, 3) and found.image.dtype == np.uint8, "no image")
        check(found.describe().isprintable(), "control characters")

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20, 10)).round(3)
    for name, text in (
        ("classes.json", json.dumps(logits.argmax(1).tolist())),
        ("logits.json", json.dumps(logits.tolist())),
        ("logits.csv", "\n".join(",".join(map(str, row)) for row in logits.tolist())),
    ):
        (home / name).write_text(text)
    np.save(home / "logits.npy", logits)
    made: dict[str, Any] = {
        "weights": (run.folder.weights, same_weights, (raw, tensors)),
        "recipe": (run.folder.recipe, same_weights, (raw, json_text)),
        "manifest": (run.folder.manifest, use, (raw, json_text)),
        "classes_json": (home / "classes.json", sane_predicted, (raw, json_text)),
        "logits_json": (home / "logits.json", sane_predicted, (raw, json_text)),
        "logits_csv": (home / "logits.csv", sane_predicted, (raw, csv_text)),
        "logits_npy": (home / "logits.npy", sane_predicted, (raw, npy)),
    }
    pixels = Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8))
    for suffix in ("png", "jpg", "gif", "bmp", "tiff", "webp", "jp2"):
        pixels.save(home / f"picture.{suffix}")
        made[f"picture_{suffix}"] = (home / f"picture.{suffix}", sane_picture, (raw, picture))
    return made


# ---- One input, and many of them in a child process ----


def outcome(path: Path, read: Callable[[Path], object], content: bytes) -> tuple[str, str]:
    """(right, refused or escape, what escaped) of one content of the file."""
    path.write_bytes(content)
    try:
        read(path)
        found = "right", ""
    except SeefarError as error:
        found = "refused", ""
        if path.name not in str(error) and path.parent.name not in str(error):
            found = "escape", f"the file is not named: {str(error)[:200]}"
    except (Exception, HangError) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        found = "escape", f"{type(error).__name__}: {str(error)[:200]} ({Path(last.filename).name}:{last.lineno})"
    if Path("hostile").exists():
        Path("hostile").unlink()
        found = "escape", "code was run"
    return found


def hang(_number: int, _frame: object) -> None:
    """The processor time of one input is over."""
    raise HangError(f"{SECONDS} s of processor time")


def in_child(inputs: Iterator[tuple[int, bytes]], path: Path, read: Callable[[Path], object], pipe: int) -> None:
    """All inputs; one JSON line to the pipe for each."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))
    signal.signal(signal.SIGPROF, hang)
    warnings.simplefilter("ignore")
    for number, content in inputs:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        found = outcome(path, read, content)
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.write(pipe, (json.dumps([number, *found]) + "\n").encode())


def fuzz(name: str, target: Any, count: int, seed: int) -> Iterator[tuple[int, str, str]]:
    """The outcome of each input; a child that dies or hangs is an escape, and the next resumes after it."""
    path, read, mutations = target
    valid, start = path.read_bytes(), 0

    def mutated(number: int) -> bytes:
        rng = random.Random(f"{seed} {name} {number}")
        return rng.choice(mutations)(rng, valid)

    while start < count:
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            in_child(((number, mutated(number)) for number in range(start, count)), path, read, writing)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as lines:
            while select.select([lines], [], [], STUCK)[0] and (line := lines.readline()):
                number, kind, what = json.loads(line)
                start = number + 1
                yield number, kind, what
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if start < count:
            yield start, "escape", "the process died or hung"
            start += 1
    path.write_bytes(valid)


def run_all(home: Path, count: int, seed: int, only: list[str] | None = None) -> dict[str, Any]:
    """Counts by target, and every escape."""
    torch.set_num_threads(1)
    counts, escapes = {}, []
    for name, target in make(home).items():
        if only and name not in only:
            continue
        found = Counter({"right": 0, "refused": 0, "escape": 0})
        for number, kind, what in fuzz(name, target, count, seed):
            found[kind] += 1
            if kind == "escape":
                escapes.append({"target": name, "number": number, "what": what})
        counts[name] = dict(found)
        print(f"{name}: {counts[name]}", file=sys.stderr, flush=True)
    return {"inputs": sum(sum(one.values()) for one in counts.values()), "targets": counts, "escapes": escapes}


def main() -> None:
    """Fuzz, and print the result as JSON."""
    chosen = arguments(__doc__, count=1000, seed=0, targets="")
    with tempfile.TemporaryDirectory() as home:
        os.chdir(home)
        result = run_all(Path(home), chosen.count, chosen.seed, chosen.targets.split())
        os.chdir("/")
    limits = {"memory_bytes": MEMORY, "processor_seconds": SECONDS}
    print_result({"seed": chosen.seed, **result, "limits": limits})


if __name__ == "__main__":
    main()
