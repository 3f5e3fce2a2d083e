"""Makes ``tests/golden/images.npz``: what the original systems make of a few small images.

Runs where TensorFlow 2.15 (``tensorflow-cpu==2.15.1``, ``tf_keras==2.15.1``, ``numpy<2``), Pillow and OpenCV
(``opencv-python-headless``) are installed, never in this project's own environment::

    python tools/golden_images.py tests/golden/images.npz

The slim schemes are the calls of slim's own evaluation preprocessing, put to TensorFlow's operators; Keras's come from
``tf_keras`` itself; torchvision's and timm's are their documented steps with Pillow and NumPy, MLPerf's those of its
reference with OpenCV, the whole resized image being made before it is cropped.

Keys: ``source/<image>`` uint8 ``[H, W, 3]``; ``<scheme>/<image>/<height>x<width>`` float32, every `stride`-th row and
column of the result (``stride/<height>x<width>``), to keep the file small; ``file/<name>`` an encoded file's bytes
and ``decoded/<name>`` TensorFlow's decoding of it with three channels.
"""

from __future__ import annotations

import io
import math
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import tensorflow as tf
import tf_keras
from PIL import Image

# (height, width) of the result -> one row and column in how many is kept
SIZES = {(299, 299): 37, (224, 224): 29, (32, 32): 3, (40, 24): 3}


def sources() -> dict[str, np.ndarray]:
    """The images: ordinary, extreme and tiny ones, of noise, which shows every misplaced pixel."""
    rng = np.random.default_rng(20170414)

    def noise(height: int, width: int) -> np.ndarray:
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)

    images = {
        "landscape": np.tile(noise(25, 20), (3, 5, 1)),
        "portrait": noise(67, 45),
        "square": noise(32, 32),
        "wide": noise(5, 160),
        "tall": noise(130, 4),
        "line": noise(1, 50),
        "pixel": noise(1, 1),
        "constant": np.full((9, 13, 3), 77, np.uint8),
    }
    ramp = np.linspace(0, 255, 61)[:, None, None] * np.linspace(0.2, 1, 83)[None, :, None] * np.array([1, 0.7, 0.4])
    images["smooth"] = ramp.astype(np.uint8)
    return images


def inception(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Slim's inception_preprocessing.preprocess_for_eval."""
    unit = tf.image.convert_image_dtype(image, tf.float32)
    unit = tf.image.central_crop(unit, central_fraction=0.875)
    unit = tf.compat.v1.image.resize_bilinear(unit[None], [height, width], align_corners=False)[0]
    return tf.multiply(tf.subtract(unit, 0.5), 2.0).numpy()


def vgg(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Slim's vgg_preprocessing.preprocess_for_eval; its 256 for 224, in proportion for other sizes."""
    short_side = tf.cast(round(max(height, width) * 256 / 224), tf.float32)
    rows, columns = (tf.cast(side, tf.float32) for side in image.shape[:2])
    scale = short_side / columns if rows > columns else short_side / rows
    new = [int(tf.cast(tf.math.rint(side * scale), tf.int32)) for side in (rows, columns)]
    resized = tf.compat.v1.image.resize_bilinear(image[None], new, align_corners=False)[0]
    top, left = int((new[0] - height) / 2), int((new[1] - width) / 2)
    crop = tf.slice(resized, [top, left, 0], [height, width, -1])
    return (crop - tf.constant([123.68, 116.78, 103.94])).numpy()


def keras(image: np.ndarray, height: int, width: int, module: object) -> np.ndarray:
    """load_img and preprocess_input, as the pages of Keras Applications show them."""
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        Image.fromarray(image).save(file, "PNG")
        loaded = tf_keras.utils.load_img(file.name, target_size=(height, width))
    return module.preprocess_input(tf_keras.utils.img_to_array(loaded))


def short_side_crop(
    image: np.ndarray, height: int, width: int, crop_fraction: float, resample: int, mean: list, std: list
) -> np.ndarray:
    """Torchvision's Resize(int), CenterCrop, ToTensor, Normalize on a Pillow image."""
    short_side = math.floor(max(height, width) / crop_fraction)
    rows, columns = image.shape[:2]
    short, long = min(rows, columns), max(rows, columns)
    new_long = int(short_side * long / short)
    new_rows, new_columns = (short_side, new_long) if rows <= columns else (new_long, short_side)
    resized = np.asarray(Image.fromarray(image).resize((new_columns, new_rows), resample))
    top, left = round((new_rows - height) / 2.0), round((new_columns - width) / 2.0)
    unit = resized[top : top + height, left : left + width].astype(np.float32) / np.float32(255)
    return (unit - np.array(mean, np.float32)) / np.array(std, np.float32)


def mlperf(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The reference's `pre_process_vgg`; of other than square sizes by the longer side."""
    short_side = int(100 * max(height, width) / 87.5)
    rows, columns = image.shape[:2]
    new_rows = int(short_side * rows / columns) if rows > columns else short_side
    new_columns = short_side if rows > columns else int(short_side * columns / rows)
    resized = cv2.resize(image, (new_columns, new_rows), interpolation=cv2.INTER_AREA)
    top, left = int((new_rows - height) / 2), int((new_columns - width) / 2)
    crop = resized[top : top + height, left : left + width].astype(np.float32)
    return crop - np.array([123.68, 116.78, 103.94], np.float32)


SCHEMES = {
    "inception": inception,
    "vgg": vgg,
    "keras": lambda *call: keras(*call, tf_keras.applications.resnet_v2),
    "caffe": lambda *call: keras(*call, tf_keras.applications.resnet),
    "torchvision": lambda *call: short_side_crop(
        *call, 224 / 256, Image.Resampling.BILINEAR, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    ),
    "mlperf": mlperf,
    "timm": lambda *call: short_side_crop(*call, 0.95, Image.Resampling.BICUBIC, [0.5] * 3, [0.5] * 3),
}


def encoded_files() -> dict[str, bytes]:
    """Small files of the kinds that both Pillow and TensorFlow decode."""
    rng = np.random.default_rng(7)
    colour = Image.fromarray(rng.integers(0, 256, (11, 17, 3), dtype=np.uint8)).resize(
        (34, 22), Image.Resampling.BICUBIC
    )
    alpha = colour.copy()
    alpha.putalpha(Image.fromarray(rng.integers(0, 256, (22, 34), dtype=np.uint8)))
    grey16 = Image.fromarray(rng.integers(0, 65536, (9, 7), dtype=np.uint16))
    palette = colour.quantize(16)
    rotated = Image.Exif()
    rotated[0x0112] = 6

    def encode(image: Image.Image, kind: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return {
        "colour.jpg": encode(colour, "JPEG", quality=90),
        "subsampled.jpg": encode(colour, "JPEG", quality=60, subsampling=2),
        "grey.jpg": encode(colour.convert("L"), "JPEG"),
        "rotated.jpg": encode(colour, "JPEG", quality=90, exif=rotated),
        "colour.png": encode(colour, "PNG"),
        "alpha.png": encode(alpha, "PNG"),
        "grey_alpha.png": encode(alpha.convert("LA"), "PNG"),
        "palette.png": encode(palette, "PNG"),
        "palette_alpha.png": encode(palette, "PNG", transparency=bytes(range(0, 256, 16))),
        "grey16.png": encode(grey16, "PNG"),
        "bilevel.png": encode(colour.convert("1"), "PNG"),
        "colour.bmp": encode(colour, "BMP"),
        "palette.gif": encode(palette, "GIF"),
    }


def decode(name: str, data: bytes) -> np.ndarray:
    """TensorFlow's decoding; of JPEG with the accurate transform, which every machine computes alike."""
    if name.endswith(".jpg"):
        return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE").numpy()
    return tf.io.decode_image(data, channels=3, expand_animations=False).numpy()


def main(path: Path) -> None:
    """Writes all arrays to `path`."""
    arrays: dict[str, np.ndarray] = {f"source/{name}": image for name, image in sources().items()}
    for (height, width), stride in SIZES.items():
        arrays[f"stride/{height}x{width}"] = np.int64(stride)
        for scheme, function in SCHEMES.items():
            for name, image in sources().items():
                result = function(image, height, width)
                assert result.shape == (height, width, 3), (scheme, name, result.shape)
                arrays[f"{scheme}/{name}/{height}x{width}"] = result[::stride, ::stride].astype(np.float32)
    # The CIFAR system's images have the network's size, so here each image is put to it at its own.
    for name, image in sources().items():
        size = f"{image.shape[0]}x{image.shape[1]}"
        arrays[f"stride/{size}"] = np.int64(3)
        arrays[f"cifar/{name}/{size}"] = tf.image.per_image_standardization(image).numpy()[::3, ::3]
    for name, data in encoded_files().items():
        arrays[f"file/{name}"] = np.frombuffer(data, np.uint8)
        arrays[f"decoded/{name}"] = decode(name, data)
    np.savez_compressed(path, **arrays)
    print(f"{path}: {len(arrays)} arrays, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
