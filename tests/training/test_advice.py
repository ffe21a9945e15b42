from __future__ import annotations

from pathlib import Path

import pytest

from seefar.data.shapes import load_shapes
from seefar.training.advice import few_steps_warning
from seefar.training.loop import train
from seefar.training.recipe import recipe


def test_a_small_folder_gets_a_proposal_that_was_seen_to_work() -> None:
    """102 pictures: 8 steps ended at chance, `--epochs 40 --batch-size 16` (280 steps) at 97 %."""
    assert "--epochs 40 --batch-size 16" in (few_steps_warning(102, 128, 8) or "")


@pytest.mark.parametrize(("images", "batch_size", "epochs"), [(102, 16, 40), (50_000, 128, 5), (4000, 64, 10)])
def test_enough_steps_need_none(images: int, batch_size: int, epochs: int) -> None:
    assert few_steps_warning(images, batch_size, epochs) is None


@pytest.mark.parametrize("images", [2, 16, 17, 500, 3000])
def test_the_proposal_is_enough(images: int) -> None:
    text = few_steps_warning(images, 128, 1)
    assert text is not None
    epochs = int(text.split("--epochs ")[1].split()[0])
    assert few_steps_warning(images, 16, epochs) is None


def test_training_gives_it_once(in_folder: Path) -> None:
    lines: list[str] = []

    class Watch:
        def line(self, text: str) -> None:
            lines.append(text)

        def update(self, stage: str, done: int, total: int, note: str = "") -> None:
            pass

    tiny = recipe("demo", width=2, epochs=1, batch_size=16)
    train(tiny, load_shapes(train=32, test=10), in_folder / "run", progress=Watch())
    assert [line for line in lines if "too few to learn much" in line] == [few_steps_warning(32, 16, 1)]
