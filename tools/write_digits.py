"""Writes scikit-learn's handwritten digits as CIFAR-10 files, to train on where nothing can be downloaded.

    pip install scikit-learn
    python tools/write_digits.py digits
    resnet-train specs/cifar_resnet32.json --data digits ...

The 1,797 digits travel in scikit-learn's wheel; they are the test set of UCI's "Optical Recognition of Handwritten
Digits". Each of their 8x8 pixels, 0 to 16, becomes 4x4 pixels of 0 to 255, the same in all three channels.

Held out is every fifth digit of each class, in the order of the file: 355 images in ``test_batch.bin``. The other 1,442
are dealt to ``data_batch_1.bin`` to ``data_batch_5.bin``. ``eight.png`` is the first of the eights held out. Thirteen
people wrote them all, and nothing tells who wrote which, so the same hands are in both parts.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnet_compile.errors import ResnetCompileError
from resnet_compile.files import replacing

HELD_OUT = 5
BATCHES = 5
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def held_out(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which images are: the fifth, tenth and so on of each class."""
    chosen = np.zeros(len(labels), np.bool_)
    for label in range(len(NAMES)):
        chosen[np.flatnonzero(labels == label)[HELD_OUT - 1 :: HELD_OUT]] = True
    return chosen


def records(images: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """CIFAR-10's records, uint8 ``[N, 3073]``, of images ``[N, 8, 8]`` with values from 0 to 16."""
    grey = np.rint(images * (255 / 16)).astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    return np.column_stack([labels.astype(np.uint8), np.tile(grey.reshape(len(grey), -1), (1, 3))])


def main() -> int:
    """Parses the command line and writes the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where to write; made where there is none")
    arguments = parser.parse_args()
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        print("the digits are in scikit-learn, which is not installed (pip install scikit-learn)", file=sys.stderr)
        return 1
    digits = load_digits()
    rows = records(digits.images, digits.target)
    test = held_out(digits.target)
    train = rows[~test]
    files = {f"data_batch_{number + 1}.bin": train[number::BATCHES] for number in range(BATCHES)}
    try:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        for name, part in {**files, "test_batch.bin": rows[test]}.items():
            with replacing(arguments.folder / name) as file:
                file.write(part.tobytes())
        with replacing(arguments.folder / "batches.meta.txt") as file:
            file.write("".join(f"{name}\n" for name in NAMES).encode())
        eight = rows[test][rows[test][:, 0] == NAMES.index("eight")][0, 1:]
        with replacing(arguments.folder / "eight.png") as file:
            Image.fromarray(eight.reshape(3, 32, 32).transpose(1, 2, 0)).save(file, "png")
    except (ResnetCompileError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{arguments.folder}: {len(train)} images to learn from, {np.count_nonzero(test)} held out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
