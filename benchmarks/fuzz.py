"""Mutation fuzzing of every file that seefar reads, and of its flags: no traceback, hang, bomb, wrong data or code run.

    nice python benchmarks/fuzz.py [--count 1000] [--seed 0] [--targets weights maps ...] > results/fuzz.json

A small run is made; then each file is mutated `count` times and read as seefar reads it, in a child process that may
take 1 GiB beyond what Python and torch have mapped, and 5 s of processor time for one input. Allowed are the right
result and a SeefarError that names the file. Everything else is an escape and is listed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import math
import os
import random
import resource
import select
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from seefar.training.begin import begin_run

import mutations
import seefar
from mutations import Mutation
from seefar.artifacts import measured_grid
from seefar.cli.main import main as command_line
from seefar.cli.main import parse
from seefar.data import cifar10
from seefar.data.folder import load_folder
from seefar.data.pictures import read_picture, read_pictures
from seefar.data.reference import Source, find_files
from seefar.data.shapes import load_shapes
from seefar.errors import Interrupted, RunError, SeefarError
from seefar.evaluation.evaluate import Evaluation
from seefar.evaluation.metrics import Metrics
from seefar.evaluation.predictions import read_predicted
from seefar.explanation.explain import Explanation, PairOfMaps
from seefar.explanation.neighbours import Neighbours, find_neighbours
from seefar.explanation.pictures import checked_grid, explain_pictures
from seefar.model.inference import weights_fingerprint
from seefar.pipeline import explain_run, report_run
from seefar.progress import SILENT
from seefar.report.model_card import model_card
from seefar.runs.folder import RunFolder, verify
from seefar.runs.provenance import provenance
from seefar.runs.tensors import load_tensors, save_tensors
from seefar.training.device import choose_compute
from seefar.training.history import read_history
from seefar.training.run import load_run, read_recipe
from seefar.training.setup import prepare

MEMORY = 1 << 30  # bytes
SECONDS = 5
STUCK = 120  # seconds by the clock in which nothing came from a child: it hangs where no signal is heard
DATA = load_shapes(40, 20)
TINY = seefar.recipe("demo", width=2, epochs=2, batch_size=16, log_every=1)
Add = Callable[..., None]


class WrongError(Exception):
    """What was read is not what may be read."""


class HangError(BaseException):
    """It took too long. No Exception, so that nobody takes it for a damaged file."""


@dataclass(frozen=True)
class Target:
    """A file that is read.

    Attributes:
        path: the file, within the folder that `make` made.
        read: reads it; raises WrongError if the result is not right.
        mutations: ways to change it; `mutations.raw` is one of all.
        share: of the inputs that others get, for one that takes long.
    """

    path: Path
    read: Callable[[Path], object]
    mutations: tuple[Mutation, ...]
    share: float = 1.0


@dataclass(frozen=True)
class Escape:
    """A mutated input that got through."""

    target: str
    number: int
    what: str


def check(is_right: object, what: str) -> None:
    """Raise WrongError unless it is right."""
    if not is_right:
        raise WrongError(what)


# ---- what is read, and what must be true of it ----


def same_weights(path: Path, wanted: str) -> None:
    """A finished run: its weights are either those that were written, or refused."""
    run = load_run(path.parent)
    check(weights_fingerprint(run.model) == wanted, "other weights than were written")
    check(run.classes == DATA.classes and run.image_size == 32, "other classes or image size than were written")


def same_state(path: Path, wanted: str) -> None:
    """A training that goes on."""
    state = prepare(RunFolder(path.parent), TINY, DATA, choose_compute("cpu"))
    check(state_digest(state) == wanted, "another state than was saved")


def state_digest(state: Any) -> str:
    """All that a training goes on from."""
    digest = hashlib.sha256(repr((state.step, state.seconds, state.tally, state.earlier_precision)).encode())
    digest.update(weights_fingerprint(state.model).encode())
    for parameter in state.model.parameters():
        digest.update(state.optimizer.state[parameter]["momentum_buffer"].numpy().tobytes())
    return digest.hexdigest()


def sane_evaluation(path: Path) -> None:
    """Predictions: mistakes follow from them."""
    predictions = Predictions.load(path)
    if len(predictions):
        check(Evaluation.of(predictions).metrics.n == len(predictions), "metrics of other images")


def sane_explanation(path: Path) -> None:
    """Maps: their tables fit each other and the classes."""
    explanation = Explanation.load(path)
    json.dumps(explanation.summary())
    count = len(explanation.classes)
    check(all(0 <= one.true < count and 0 <= one.predicted < count for one in explanation.mistakes), "unknown classes")
    check(np.isfinite(explanation.contrast).all(), "maps that are not finite")
    check(len(explanation.of(explanation.mistakes).repairs) == len(explanation.mistakes), "tables that do not fit")


def sane_neighbours(path: Path) -> None:
    """Neighbours: indices that exist."""
    found = Neighbours.load(path)
    check(found.of_true.min(initial=-1) >= -1 and found.index.min(initial=0) >= 0, "indices below 0")
    check(0 <= found.accuracy <= 1 and 0 <= found.knn_accuracy <= 1, "accuracy outside 0 to 1")
    repr(found)


def sane_history(path: Path) -> None:
    """History: rows in order, of finite numbers."""
    rows = read_history(path)
    check(all(math.isfinite(row.loss) and math.isfinite(row.learning_rate) for row in rows), "not finite")
    check(all(math.isfinite(row.seconds) and 0 <= row.accuracy <= 1 for row in rows), "not finite, or no share")
    check([row.step for row in rows] == sorted({row.step for row in rows}), "steps that do not rise")


def harmless_batch(path: Path) -> None:
    """A batch of CIFAR-10, as if its checksum were right: nothing in it is run."""
    cifar10.unpickle_batch(path.read_bytes(), path)


def unpacked(path: Path) -> None:
    """The archive: nothing is written but seven plain files."""
    before = set(path.parent.rglob("*"))
    out = path.parent / cifar10.FOLDER
    try:
        cifar10.unpack(path, out)
        check({file.name for file in out.iterdir()} == set(cifar10.MD5), "other files")
        check(not any(file.is_symlink() for file in out.iterdir()), "links")
    finally:
        if out.exists():
            for file in out.iterdir():
                file.unlink()
            out.rmdir()
    check(set(path.parent.rglob("*")) == before, "files outside its folder")


def named_by_verify(path: Path) -> None:
    """Every change of a sealed folder is found by `seefar verify`."""
    check(verify(path.parent), "verify finds nothing")


def sane_picture(path: Path) -> None:
    """A picture is read whole or refused."""
    found = read_picture(path, 32)
    check(found.image.shape == (32, 32, 3) and found.image.dtype == np.uint8, "no image")
    check(found.describe().isprintable(), "control characters")


def sane_folder(path: Path, folder: Path, images: str) -> None:
    """An image folder whose kept decoded images were changed: they are decoded anew."""
    data = load_folder(folder, 16, cache=path.parent, progress=SILENT)
    check(data.train.images.shape[1:] == (16, 16, 3), "no images")
    if path.suffix == ".json":
        check(data.fingerprint == images, "other images")


def sane_predicted(path: Path) -> None:
    """Predictions for triage."""
    found = read_predicted(path, 20, 10)
    check(found.shape == (20,) and found.min() >= 0 and found.max() < 10, "no classes")


def use_run(path: Path, picture: Path) -> None:
    """All that reads a run: a page, explanations, a card, a comparison, the prediction of a picture."""
    folder = RunFolder(path)
    with contextlib.suppress(SeefarError):  # the recipe that is said to belong to the weights
        folder.recipe.write_text(str(load_tensors(folder.weights)[1].get("recipe")), "utf-8", "replace")
    run = load_run(folder, "cpu")
    check(run.image_size < 1000 and "\x1b" not in "".join(run.classes), "an image size or a class that is none")
    metrics = None
    with contextlib.suppress(ValueError, KeyError, TypeError):
        metrics = Metrics.from_json(folder.metrics.read_text(encoding="utf-8"))
    repr((model_card(run.recipe, run.classes, metrics, []), verify(folder)))
    with contextlib.suppress(RunError):  # the same predictions are computed anew below
        check((predicted_classes(folder, DATA.test) < 10).all(), "unknown classes")
    report_run(run, DATA, progress=SILENT)
    result = explain_run(run, DATA, top=2, explain="shown", progress=SILENT)
    check(result.evaluation.metrics.n == len(DATA.test), "another number of images")
    check((result.evaluation.predictions.labels == DATA.test.labels).all(), "other labels")
    pair = PairOfMaps("gradcam", None, None)
    grid = measured_grid(run) or checked_grid(run.model, run.image_size, pair, "blur")
    read = read_pictures([picture], run.image_size, SILENT)
    (found,) = explain_pictures(run.model, read.names, read.pictures, run.classes, pair, "blur", grid, SILENT)
    check("\x1b" not in found.describe() + found.sentence(), "an escape sequence in a sentence")
    check("\x1b" not in folder.mistakes.read_text(encoding="utf-8"), "an escape sequence in a table")


# ---- valid files ----


def make(home: Path) -> dict[str, Target]:
    """Every kind of file, valid, each with what reads it."""
    raw = mutations.raw
    folder = home / "run"
    result = seefar.run(TINY, DATA, folder, top=2, progress=SILENT)
    run, predictions = result.run, result.evaluation.predictions
    made: dict[str, Target] = {}

    def add(name: str, path: Path, read: Callable[[Path], object], *ways: Mutation, share: float = 1.0) -> None:
        made[name] = Target(path, read, (raw, *ways, *ways), share)

    fingerprint = weights_fingerprint(run.model)
    add("weights", run.folder.weights, lambda path: same_weights(path, fingerprint), mutations.tensors)
    add("recipe", run.folder.recipe, lambda path: same_weights(path, fingerprint), mutations.json_text)
    add("recipe_begin", run.folder.recipe, lambda path: read_recipe(RunFolder(path.parent)), mutations.json_text)
    add("data", run.folder.data, lambda path: begin_run(RunFolder(path.parent), TINY, DATA), mutations.json_text)
    add("history", run.folder.history, sane_history, mutations.csv_text)
    add("predictions", run.folder.predictions, sane_evaluation, mutations.npz)
    add("maps", run.folder.maps, sane_explanation, mutations.npz, _about)
    add("manifest", run.folder.manifest, named_or_same, mutations.json_text)
    add("verify", run.folder.metrics, named_by_verify, mutations.json_text)
    training = seefar.predict(run.model, DATA.train, progress=SILENT)
    neighbours = home / "neighbours.npz"
    find_neighbours(predictions, training, DATA).save(neighbours)
    add("neighbours", neighbours, sane_neighbours, mutations.npz)
    _add_used(add, home, run.folder)
    _add_tables(add, home, run.folder)
    _add_checkpoint(add, home)
    _add_cifar10(add, home)
    _add_pictures(add, home)
    _add_predicted(add, home)
    return made


def named_or_same(path: Path) -> None:
    """A changed manifest is read, or named."""
    verify(path.parent)


def _about(rng: random.Random, content: bytes) -> bytes:
    """The JSON within maps.npz changed."""
    with np.load(io.BytesIO(content)) as archive:
        arrays = dict(archive)
    arrays["about"] = np.frombuffer(mutations.json_text(rng, arrays["about"].tobytes()), np.uint8)
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    return packed.getvalue()


def _add_used(add: Add, home: Path, folder: RunFolder) -> None:
    """Files of a run with the right checksum and other values, which the commands then use."""
    picture = home / "picture.png"
    Image.fromarray(DATA.test.images[0]).save(picture)

    def used(path: Path) -> None:
        use_run(path.parent, picture)

    for name in ("maps", "neighbours", "manifest", "metrics", "weights"):
        own = RunFolder(home / f"used_{name}")
        shutil.copytree(folder.path, own.path)
        ways: dict[str, tuple[Mutation, ...]] = {
            "maps": (mutations.npz_values, _about),
            "manifest": (mutations.json_text,),
            "metrics": (mutations.json_text,),
            "weights": (_sealed,),
        }
        add(own.path.name, getattr(own, name), used, *ways.get(name, (mutations.npz_values,)), share=0.2)


def _sealed(rng: random.Random, content: bytes) -> bytes:
    """Weights of other values, or other things said about them, under a checksum that is right."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "weights.safetensors"
        path.write_bytes(content)
        tensors, about = load_tensors(path)
        if rng.random() < 0.3:
            name = rng.choice(sorted(tensors))
            other = torch.tensor(mutations.values(rng, tensors[name].numpy()))
            tensors[name] = other.clone(memory_format=torch.contiguous_format)  # numpy gives empty ones odd strides
        elif rng.random() < 0.5:
            about["recipe"] = mutations.json_text(rng, about["recipe"].encode()).decode("utf-8", "replace")
        else:
            about = mutations.changed(rng, about)
        with contextlib.suppress(TypeError, ValueError):  # what is no table
            save_tensors(path, tensors, about)
        return path.read_bytes()


def _add_tables(add: Add, home: Path, folder: RunFolder) -> None:
    tables = RunFolder(home / "tables")
    tables.path.mkdir()
    for name in ("metrics", "mistakes"):
        getattr(tables, name).write_bytes(getattr(folder, name).read_bytes())
    wanted = Evaluation.load(folder.predictions).predictions.predicted

    def read(_path: Path) -> None:
        check((predicted_classes(tables, DATA.test) == wanted).mean() > 0.5, "other predictions")

    add("mistakes", tables.mistakes, read, mutations.csv_text)
    add("metrics", tables.metrics, read, mutations.json_text)


def _add_checkpoint(add: Add, home: Path) -> None:
    class Stop:
        def line(self, text: str) -> None:
            pass

        def update(self, stage: str, done: int, total: int, note: str = "") -> None:
            if done > 0:
                os.kill(os.getpid(), signal.SIGINT)

    with contextlib.suppress(Interrupted):
        seefar.train(TINY, DATA, home / "begun", device="cpu", progress=Stop())
    folder = RunFolder(home / "begun")
    wanted = state_digest(prepare(folder, TINY, DATA, choose_compute("cpu")))
    add("checkpoint", folder.checkpoint, lambda path: same_state(path, wanted), mutations.tensors)


def _add_cifar10(add: Add, home: Path) -> None:
    batches = home / cifar10.FOLDER
    batches.mkdir()
    rng = np.random.default_rng(0)
    for name in cifar10.MD5:
        batch: dict[bytes, Any] = {b"labels": [1, 2, 3], b"data": rng.integers(0, 256, (3, 3072), dtype=np.uint8)}
        if name == cifar10.META_FILE:
            batch = {b"label_names": [word.encode() for word in DATA.classes], b"num_vis": 3072}
        (batches / name).write_bytes(mutations.pickle.dumps(batch, 2))
    add("batch", batches / cifar10.TRAIN_FILES[0], harmless_batch, mutations.pickled)
    place = home / "archive"
    place.mkdir()
    with tarfile.open(place / cifar10.ARCHIVE, "w:gz") as tar:
        for name in cifar10.MD5:
            tar.add(batches / name, f"{cifar10.FOLDER}/{name}")
    add("archive", place / cifar10.ARCHIVE, unpacked, mutations.archive)
    reference = home / "reference" / "counts.npy"
    reference.parent.mkdir()
    np.save(reference, np.zeros((3, 10), np.int64))
    pinned = hashlib.sha256(reference.read_bytes()).hexdigest()
    source = Source("t", "l", "r", "c", {"counts.npy": "x"}, {"counts.npy": pinned})

    def refused(path: Path) -> None:
        find_files(path.parent, fetch=False, sources=(source,), progress=SILENT)
        check(hashlib.sha256(path.read_bytes()).hexdigest() == pinned, "another file than the pinned one")

    add("reference", reference, refused, mutations.npy)


def _add_pictures(add: Add, home: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8))
    place = home / "pictures"
    place.mkdir()
    for suffix in ("png", "jpg", "gif", "bmp", "tiff", "webp", "ppm", "tga", "pcx", "jp2"):
        pixels.save(place / f"a.{suffix}")
        add(f"picture_{suffix}", place / f"a.{suffix}", sane_picture, mutations.picture)
    folder, cache = home / "classes", home / "cache"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            pixels.rotate(number).save(folder / name / f"{number}.png")
    images = load_folder(folder, 16, cache=cache, progress=SILENT).fingerprint
    for kept, way in ((next(cache.glob("*.json")), mutations.json_text), (next(cache.glob("*.raw")), mutations.raw)):
        add(f"kept_{kept.suffix[1:]}", kept, lambda path: sane_folder(path, folder, images), way)


def _add_predicted(add: Add, home: Path) -> None:
    place = home / "predicted"
    place.mkdir()
    logits = np.random.default_rng(0).normal(size=(20, 10)).round(3)
    (place / "classes.json").write_text(json.dumps(logits.argmax(1).tolist()))
    (place / "logits.json").write_text(json.dumps(logits.tolist()))
    (place / "logits.csv").write_text("\n".join(",".join(map(str, row)) for row in logits.tolist()))
    np.save(place / "logits.npy", logits)
    ways = {"json": mutations.json_text, "csv": mutations.csv_text, "npy": mutations.npy}
    for path in sorted(place.iterdir()):
        add(f"triage_{path.stem}_{path.suffix[1:]}", path, sane_predicted, ways[path.suffix[1:]])


# ---- flags ----

WORDS = (
    "run", "train", "evaluate", "explain", "report", "verify", "compare", "triage", "export", "predict", "data",
    "fast", "demo", "seed", "--name", "--data", "--data-dir", "--epochs", "--width", "--scales", "--seed", "--top",
    "--order", "--true", "--method", "--layer", "--cells", "--hide", "--explain", "--device", "--json",
    "--learning-rate", "--flip", "--batch-size", "--image-size", "--precision", "--checkpoint-minutes", "--quiet",
    "--help", "--version", "--", "-", "-x", "--no-nesterov", "--figure", "--out", "--output", "shapes", "cifar10",
)  # fmt: skip
ODD = (
    "", " ", "0", "-1", "1e400", "nan", "inf", "9" * 400, "1.5", "None", "\x1b[31mred", "../..", ".", "..", "/", "~",
    "\udcff", "a" * 5000, "naïve 名前", "/dev/null", "/proc/self/mem", "nowhere", "cpu", "cuda", "layer4", "%s", "{}",
    "'; rm -rf x", "$(touch hostile)", "\n", "[1,2]", "-inf", "1_000", "0x10", "True", "loss", "blur",
)  # fmt: skip


def flags(rng: random.Random) -> None:
    """Words of the command line and odd ones, in any order; a training is never begun, all else is done."""
    words = [rng.choice(WORDS[:11])]
    for _ in range(rng.randrange(7)):
        words.append(rng.choice(WORDS if rng.random() < 0.5 else ODD))
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            if words[0] in ("run", "train"):
                parse(words)
            else:
                code = command_line(words)
                check(code in (0, 2), f"exit code {code}")
        except SystemExit as stop:
            check(stop.code in (0, 2), f"exit code {stop.code}")
            return  # what argparse prints are the words that were typed
    check("\x1b[31m" not in output.getvalue(), f"an escape sequence in the output of {words}")


# ---- one input, and many of them in a child process ----


def mutate(target: Target, content: bytes, rng: random.Random) -> bytes:
    """Another content than the valid one."""
    for _ in range(100):
        found = rng.choice(target.mutations)(rng, content)
        if found != content:
            return found
    raise AssertionError(f"{target.path}: no mutation changes it")


def outcome(name: str, target: Target | None, content: bytes, number: int, seed: int) -> tuple[str, str]:
    """(right, refused or escape, what escaped) of the mutated input of this number."""
    rng = random.Random(f"{seed} {name} {number}")
    try:
        if target is None:
            flags(rng)
        else:
            target.path.write_bytes(mutate(target, content, rng))
            target.read(target.path)
        found = "right", ""
    except SeefarError as error:
        found = "refused", ""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                found = "escape", f"memory: {str(error)[:200]}"
            cause = cause.__cause__ or cause.__context__
        if target is not None and target.path.name not in str(error) and target.path.parent.name not in str(error):
            found = "escape", f"the file is not named: {str(error)[:200]}"
    except (Exception, HangError) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        found = "escape", f"{type(error).__name__}: {str(error)[:200]} ({Path(last.filename).name}:{last.lineno})"
    if Path("hostile").exists():
        Path("hostile").unlink()
        found = "escape", "code was run"
    return found


def _hang(_number: int, _frame: object) -> None:
    raise HangError(f"{SECONDS} s of processor time")


def in_child(name: str, target: Target | None, content: bytes, numbers: range, seed: int, pipe: int) -> None:
    """All inputs of these numbers; one JSON line to the pipe for each."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, _hang)
    sys.stdin = open(os.devnull)  # noqa: SIM115
    warnings.simplefilter("ignore")
    for number in numbers:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        kind, what = outcome(name, target, content, number, seed)
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.write(pipe, (json.dumps([number, kind, what]) + "\n").encode())


def fuzz(name: str, target: Target | None, count: int, seed: int) -> Iterator[tuple[int, str, str]]:
    """The outcome of each input; a child that dies or hangs is an escape, and the next goes on after it."""
    content = b"" if target is None else target.path.read_bytes()
    start = 0
    while start < count:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                in_child(name, target, content, range(start, count), seed, writing)
                code = 0
            finally:
                os._exit(code)
        os.close(writing)
        with os.fdopen(reading) as lines:
            while True:
                ready, _, _ = select.select([lines], [], [], STUCK)
                line = lines.readline() if ready else ""
                if not line.endswith("\n"):
                    break
                number, kind, what = json.loads(line)
                start = number + 1
                yield number, kind, what
        if not ready:
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if start < count:
            yield start, "escape", f"the process died or hung (status {status})"
            start += 1
    if target is not None:
        target.path.write_bytes(content)


def run_all(home: Path, count: int, seed: int, only: list[str] | None = None) -> dict[str, Any]:
    """Counts by target, and every escape."""
    torch.set_num_threads(1)
    targets: dict[str, Target | None] = {**make(home), "flags": None}
    work = home / "work"
    work.mkdir()
    os.chdir(work)
    counts: dict[str, dict[str, int]] = {}
    escapes: list[Escape] = []
    for name, target in targets.items():
        if only and name not in only:
            continue
        began, found = time.monotonic(), Counter({"right": 0, "refused": 0, "escape": 0})
        inputs = round(count * target.share) if target else count
        for number, kind, what in fuzz(name, target, inputs, seed):
            found[kind] += 1
            if kind == "escape":
                escapes.append(Escape(name, number, what))
        counts[name] = dict(found)
        print(f"{name}: {dict(found)} in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return {"inputs": sum(sum(one.values()) for one in counts.values()), "targets": counts, "escapes": escapes}


def main() -> None:
    """Fuzz, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--count", type=int, default=1000, help="mutated inputs for each target; fewer where they are used"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="*")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["SEEFAR_CACHE"] = f"{home}/user"
        result = run_all(Path(home), arguments.count, arguments.seed, arguments.targets)
        os.chdir("/")
    result["escapes"] = [asdict(escape) for escape in result["escapes"]]
    limits = {"memory_bytes": MEMORY, "processor_seconds": SECONDS}
    print(json.dumps({"seed": arguments.seed, **result, "limits": limits, **provenance()}, indent=2))


if __name__ == "__main__":
    main()
