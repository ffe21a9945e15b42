"""Train on your own pictures, and predict new ones: folders by class, any size, any usual format.

python examples/own_pictures.py my_pictures/      # my_pictures/<class>/*.jpg, or train/<class>/ and test/<class>/
"""

import sys
import tempfile
from pathlib import Path

import seefar


def make_pictures(folder: Path) -> Path:
    """Pictures of the built-in shapes, to try this script without any of your own."""
    from PIL import Image

    split = seefar.load_data("shapes").train
    for number in range(200):
        place = folder / split.classes[split.labels[number]]
        place.mkdir(exist_ok=True)
        Image.fromarray(split.images[number]).resize((48, 40)).save(place / f"{number}.png")
    return folder


folder = Path(sys.argv[1]) if len(sys.argv) > 1 else make_pictures(Path(tempfile.mkdtemp()))
result = seefar.run(seefar.recipe("demo", width=4, epochs=2), data=folder)
print(f"{result.evaluation.metrics.accuracy:.1%} of {result.evaluation.metrics.n} test pictures are right")
print(f"open {result.run.folder.report}")

picture = next(folder.rglob("*.png"))
(prediction,) = seefar.predict_pictures(result.run.model, picture, result.run.classes, result.run.image_size)
print(f"{picture.name}: {prediction.describe()}")
seefar.plot_picture(prediction).savefig("picture.png")
