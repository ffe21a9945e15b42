from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
from dataclasses import fields
from pathlib import Path

import pytest

from seefar.choices import Choices
from seefar.cli import main as cli
from seefar.cli.options import JsonOutput, Machine, Place
from seefar.data.shapes import load_shapes
from seefar.runs.folder import verify
from seefar.training.recipe import RECIPES, Recipe

TINY = ["--width", "2", "--epochs", "1", "--batch-size", "16", "--precision", "float32"]


@pytest.fixture(autouse=True)
def few_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line with 100 training images in place of 4,000."""
    monkeypatch.setattr("seefar.data.load_shapes", lambda: load_shapes(100, 40))


def call(*words: object) -> int:
    return cli.main([str(word) for word in words])


def test_help_and_import_load_neither_torch_nor_matplotlib() -> None:
    program = (
        "import sys, seefar, seefar.cli.main\n"
        "try: seefar.cli.main.main(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'numpy', 'matplotlib', 'albumentations', 'cv2') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "[]"


def test_help_explains_every_field_of_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        call("run", "quick", "--help")
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    for field in set(RECIPES["quick"].__dataclass_fields__) - {"name"}:
        assert f"--{field.replace('_', '-')}" in printed
    assert f"(default: {RECIPES['quick'].epochs})" in printed


def test_the_main_job_end_to_end(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "demo", *TINY, "--top", 4) == 0
    printed = capsys.readouterr().out
    assert "Accuracy of the network on the 40 test images: " in printed
    assert "next: seefar explain demo" in printed
    folder = in_folder / "runs" / "demo"
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert names == sorted(
        [
            "recipe.json",
            "data.json",
            "history.csv",
            "log.txt",
            "weights.safetensors",
            "predictions.npz",
            "metrics.json",
            "mistakes.csv",
            "maps.npz",
            "explanation.json",
            "neighbours.npz",
            "report.html",
            "manifest.json",
            "figures/confusion.png",
            "figures/history.png",
            "figures/maps.png",
            "figures/mistakes.png",
            "figures/reliability.png",
        ]
    )
    for line in printed.splitlines():
        if line.startswith("  runs/"):
            assert (in_folder / line.strip()).exists()
    assert verify(folder) == []
    # Again: nothing is trained or computed anew, the same answer.
    assert call("run", "demo", *TINY, "--top", 4) == 0
    assert capsys.readouterr().out == printed


def test_the_steps_one_by_one(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "demo", *TINY, "--name", "mine") == 0
    weights = Path("runs") / "mine" / "weights.safetensors"
    assert capsys.readouterr().out == f"{weights}\nnext: seefar evaluate mine\n"
    assert call("evaluate", "mine") == 0
    printed = capsys.readouterr().out
    assert "mistakes, most of them: " in printed
    assert printed.endswith("next: seefar explain mine\n")
    assert call("evaluate", "mine", "--json") == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["test"]["n"] == 40
    assert call("explain", "mine", "--top", 2, "--order", "confidence", "--cells", 16) == 0
    printed = capsys.readouterr().out
    assert f"2 of {metrics['test']['mistakes']} mistakes are shown" in printed
    assert "Hiding the evidence" in printed
    assert call("explain", in_folder / "runs" / "mine", "--true", "star", "--layer", "layer2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["test"] == metrics["test"]
    assert found["occlusion"]["repaired"]["n"] == metrics["test"]["mistakes"]
    assert call("explain", "mine", "--method", "hirescam", "--hide", "grey") == 0
    about = json.loads((in_folder / "runs" / "mine" / "explanation.json").read_text())
    assert (about["method"], about["hide"]) == ("hirescam", "grey")


def test_verify_names_what_is_wrong_and_exits_with_2(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "demo", *TINY) == 0
    assert call("verify", "demo") == 0
    assert "is whole" in capsys.readouterr().out
    (in_folder / "runs" / "demo" / "log.txt").unlink()
    assert call("verify", "demo") == 2
    assert "log.txt is missing" in capsys.readouterr().err


def test_another_recipe_takes_the_next_free_folder(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "demo", *TINY) == 0
    assert call("train", "demo", *TINY, "--seed", "1", "--quiet") == 0
    caught = capsys.readouterr()
    assert caught.out.splitlines()[-2:] == ["runs/demo-2/weights.safetensors", "next: seefar evaluate demo-2"]
    assert call("train", "demo", *TINY, "--seed", "1", "--name", "demo") == 2
    assert "choose another name, or the values it was begun with. (flag: --name)" in capsys.readouterr().err


def test_no_flag_is_an_abbreviation_of_one_of_torchrun() -> None:
    from torch.distributed.run import get_args_parser

    theirs = {name for action in get_args_parser()._actions for name in action.option_strings}
    ours = {
        f"--{one.name.replace('_', '-')}"
        for part in (Recipe, Choices, Place, Machine, JsonOutput)
        for one in fields(part)
    }
    assert not [(our, their) for our in ours for their in theirs if their.startswith(our)]


def test_data_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("data", "shapes") == 0
    assert "100 training and 40 test images of 32x32 pixels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "quik"], "no recipe 'quik': choose one of fast, quick, seed, demo"),
        (["run", "demo", "--data", "nowhere"], "no data set 'nowhere'"),
        (["train", "demo", "--epochs", "0"], "epochs is 0, 1 to 10000 was wanted. (flag: --epochs)"),
        (
            ["run", "demo", "--epochs", "100000000000"],
            "epochs is 100000000000, 1 to 10000 was wanted. (flag: --epochs)",
        ),
        (["train", "demo", "--device", "cuda"], "no cuda"),
        (["train", "--epochs", "1", "demo"], "The recipe comes before the flags: seefar train demo"),
        (["train", "demo", "--name", ".."], "'..' is no name for a run"),
        (["train", "demo", "--name", ""], "'' is no name for a run"),
        (
            ["train", "demo", "--name", "\x1b[31mred"],
            r"'\x1b[31mred' is no name for a run, since it has control characters",
        ),
        (["train", "demo", *TINY, "--checkpoint-minutes", "nan"], "checkpoint_minutes is nan, 0 or more was wanted."),
        (
            ["train", "demo", *TINY, "--checkpoint-minutes", "-3"],
            "-3.0, 0 or more was wanted. (flag: --checkpoint-minutes)",
        ),
        (["train", "demo", "--name", "/dev/null/x", *TINY], "/dev/null/x"),
        (["run", "demo", "--checkpoint-minutes", "-1"], "(flag: --checkpoint-minutes)"),
        (["run", "demo", "--device", "cuda"], "no cuda"),
        (["run", "demo", "--precision", "float16"], "float16 needs CUDA"),
        (["run", "demo", "--true", "whale"], "no class 'whale'"),
        (["run", "demo", "--layer", "layer9"], "no layer 'layer9'"),
        (["run", "demo", "--cells", "7"], "7"),
        (["run", "demo", "--top", "0"], "(flag: --top)"),
        (["run", "demo", "--image-size", "64"], "(flag: --image-size)"),
        (["run", "quick", "--data-dir", "/nowhere"], "The folder /nowhere does not exist"),
        (["evaluate", "nothing"], "runs/nothing holds no run"),
        (["explain", "nothing"], "runs/nothing holds no run"),
        (["data", "cifar10", "--data-dir", "/proc/nothing"], "could not be fetched"),
    ],
)
def test_wrong_input_is_one_clear_message_and_exit_code_2(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert call(*words) == 2
    caught = capsys.readouterr()
    assert caught.out == ""
    assert message in caught.err
    assert "Traceback" not in caught.err
    assert list(in_folder.iterdir()) == []


def test_wrong_classes_and_layers_of_a_finished_run(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "demo", *TINY) == 0
    manifest = in_folder / "runs" / "demo" / "manifest.json"
    whole = manifest.read_bytes()
    for words, message in (
        (["--true", "whale"], "no class 'whale'"),
        (["--layer", "layer9"], "no layer 'layer9'"),
        (["--layer", "layer4"], "4x4 cells"),
        (["--top", "101"], "1 to 100"),
    ):
        capsys.readouterr()
        assert call("explain", "demo", *words) == 2
        assert message in capsys.readouterr().err
        assert manifest.read_bytes() == whole


def test_no_picture_of_another_choice_is_left(in_folder: Path) -> None:
    assert call("run", "demo", *TINY) == 0
    figures = in_folder / "runs" / "demo" / "figures"
    assert (figures / "maps.png").exists()
    assert call("explain", "demo", "--true", "bar", "--predicted", "circle") == 0
    assert not {"maps.png", "mistakes.png"} & {path.name for path in figures.iterdir()}
    assert (figures / "history.png").exists()


def test_without_its_last_step_a_folder_has_no_manifest(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("run", "demo", *TINY) == 0
    manifest = in_folder / "runs" / "demo" / "manifest.json"
    assert manifest.exists()

    def fail(*_: object) -> None:
        (manifest.parent / "log.txt").write_text("changed")
        raise OSError("the disk is full")

    monkeypatch.setattr("seefar.steps.save_figure", fail)
    assert call("explain", "demo") == 2
    assert not manifest.exists()


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_gets_no_traceback() -> None:
    command = [sys.executable, "-m", "seefar", "data", "shapes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_debug_shows_the_traceback() -> None:
    from seefar.errors import RecipeError

    with pytest.raises(RecipeError):
        call("run", "quik", "--debug")


def test_unknown_flags_end_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        call("run", "demo", "--epoch", "3")
    assert stop.value.code == 2


@pytest.mark.slow
def test_ctrl_c_saves_and_ends_with_130_and_the_same_command_goes_on(tmp_path: Path) -> None:
    import signal
    import time

    command = [sys.executable, "-m", "seefar", "train", "demo", "--width", "2", "--epochs", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "[1," not in process.stderr.readline():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait() == 130
    process.stderr.close()
    assert "the same command goes on" in rest
    assert (tmp_path / "runs" / "demo" / "checkpoint.safetensors").exists()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "0 done" not in again.stderr
    assert (tmp_path / "runs" / "demo" / "weights.safetensors").exists()


def test_letters_that_the_output_cannot_show_and_a_closed_output_are_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(cli, "parse", lambda _words: lambda _words: print("mus\N{LATIN SMALL LETTER U WITH DIAERESIS}"))
    assert call("data") == 0
    stream.flush()
    assert stream.buffer.getvalue() == b"mus\\xfc\n"  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it after `>&-`
    assert call("data") == 0
    sys.stdout.close()


def test_a_warning_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "parse", lambda words: lambda words: warnings.warn("no \x1b[31m letter", stacklevel=2))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        shown = warnings.showwarning
        assert cli.main(["predict"]) == 0
        assert warnings.showwarning is shown
    assert capsys.readouterr().err == "seefar: no \\x1b[31m letter\n"
