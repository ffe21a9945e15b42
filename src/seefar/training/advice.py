"""Small data sets: a warning where a recipe takes too few steps to learn anything, with settings that would."""

from __future__ import annotations

FEW_STEPS = 200
"""A training of fewer steps hardly leaves chance: 8 steps on 102 pictures ended there, 280 at 97 %."""
BATCH_SIZE = 16


def few_steps_warning(images: int, batch_size: int, epochs: int) -> str | None:
    """One line that proposes a smaller batch and more epochs; None where there are steps enough.

    Args:
        images: training images.
        batch_size: images in a batch.
        epochs: times that every image is shown.

    Example:
        >>> few_steps_warning(102, 128, 8)[-29:]
        '--epochs 40 --batch-size 16).'
        >>> few_steps_warning(50_000, 128, 5) is None
        True
    """
    steps = epochs * -(-images // batch_size)
    if steps >= FEW_STEPS:
        return None
    smaller = min(batch_size, BATCH_SIZE)
    enough = -(-(FEW_STEPS + FEW_STEPS // 4) // -(-images // smaller))
    more = max(epochs, -(-enough // 10) * 10)
    return (
        f"{images} training images in batches of {batch_size} make {steps} steps in {epochs} epochs, too few to learn "
        f"much: choose epochs={more} and batch_size={smaller} (--epochs {more} --batch-size {smaller})."
    )
