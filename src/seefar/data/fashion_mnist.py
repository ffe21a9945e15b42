"""Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747): the official files, downloaded once and checked."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seefar.data.download import Remote, data_place, download_all, read_checked
from seefar.data.images import Data, Split
from seefar.progress import Progress, showing

NAME, FOLDER = "fashion_mnist", "fashion-mnist"
HOSTS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
)
FILES = {
    "train-images-idx3-ubyte.gz": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
    "train-labels-idx1-ubyte.gz": ("25c81989df183df01b3e8a0aad5dffbe", 29_515),
    "t10k-images-idx3-ubyte.gz": ("bef4ecab320f06d8554ea6380940ec79", 4_422_102),
    "t10k-labels-idx1-ubyte.gz": ("bb300cfdad3c16e7a12a480ee83cd310", 5_148),
}
"""MD5 and bytes of each: images and labels of the training part, and of the test part."""
CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
BORDER = 2
"""Black pixels around the images of 28x28 pixels, whose background is black: 32x32 as in the other data sets."""


def load_fashion_mnist(
    folder: str | Path | None = None, *, create: bool = False, progress: Progress | None = None
) -> Data:
    """Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 10 classes. Downloaded if missing.

    The grey images of 28x28 pixels have a black border of 2 pixels and three equal channels. The arguments and errors
    are those of `load_cifar10`, except that `folder` holds `fashion-mnist/`.
    """
    home = data_place(folder, NAME, FOLDER, sum(size for _, size in FILES.values()), create)
    files = {
        f"{FOLDER}/{name}": Remote(tuple(f"{host}/{name}" for host in HOSTS), checksum, size)
        for name, (checksum, size) in FILES.items()
    }
    if not all((home / name).exists() for name in files):
        with showing(progress) as shown:
            shown.line(f"downloading {FOLDER} into {home}")
            download_all(files, home, shown)
    arrays = [_read(read_checked(home / name, file.checksum, NAME)) for name, file in files.items()]
    return Data(NAME, _split(*arrays[:2]), _split(*arrays[2:]))


def _read(content: bytes) -> NDArray[np.uint8]:
    """An array in the IDX format: two zeros, the type, the number of axes, their lengths, then the values."""
    plain = gzip.decompress(content)
    axes = np.frombuffer(plain, ">u4", plain[3], 4)
    return np.frombuffer(plain, np.uint8, offset=4 + 4 * len(axes)).reshape(axes)


def _split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Split:
    bordered = np.pad(images, ((0, 0), (BORDER, BORDER), (BORDER, BORDER)))
    return Split(np.repeat(bordered[..., None], 3, axis=3), labels.astype(np.int64), CLASSES)
