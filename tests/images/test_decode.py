"""Decoding: TensorFlow's pixels, and one clear line for a file that has none."""

import io
import re
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_compile.errors import ImageError
from resnet_compile.images import decode_image

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "images.npz")
FILES = sorted(key.removeprefix("file/") for key in GOLDEN.files if key.startswith("file/"))


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(height: int = 11, width: int = 17) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_of_tensorflow(name: str) -> None:
    image = decode_image(GOLDEN[f"file/{name}"].tobytes(), exif_orientation=False)
    np.testing.assert_array_equal(image, GOLDEN[f"decoded/{name}"])
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous


def test_exif_orientation_turns_the_image_unless_told_not_to() -> None:
    data = GOLDEN["file/rotated.jpg"].tobytes()
    stored = decode_image(data, exif_orientation=False)
    # Orientation 6: the camera was held so that the stored image has to be turned clockwise.
    np.testing.assert_array_equal(decode_image(data), np.rot90(stored, -1))


@pytest.mark.parametrize(
    "mode", ["RGB", "RGBA", "RGBX", "CMYK", "L", "LA", "1", "P", "PA", "YCbCr", "LAB", "HSV", "La", "RGBa"]
)
def test_every_mode_becomes_rgb(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    grey = Image.fromarray(noise()).convert("L")
    via = {"RGBa": "RGBA", "La": "LA", "PA": "P", "LAB": "RGB"}.get(mode, mode)
    image = grey.convert(via)
    if mode == "LAB":
        image = Image.merge("LAB", (grey, Image.new("L", grey.size, 128), Image.new("L", grey.size, 128)))
    elif mode != via:
        image = image.convert(mode)
    assert image.mode == mode
    monkeypatch.setattr(Image, "open", lambda _: image)  # Few file formats store these modes.
    decoded = decode_image(b"").astype(int)
    assert decoded.shape == (11, 17, 3)
    if mode not in ("1", "LAB"):  # A grey image survives any colour space, but for rounding.
        assert np.abs(decoded - np.asarray(grey)[:, :, None]).max() <= 4


def test_cmyk_jpeg_has_its_colours() -> None:
    red = encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")
    assert np.abs(decode_image(red).astype(int) - [255, 0, 0]).max() <= 6


@pytest.mark.parametrize(("kind", "dtype"), [("TIFF", "<u2"), ("TIFF", ">u2"), ("PNG", "<u2"), ("PPM", ">u2")])
def test_sixteen_bit_grey_keeps_the_high_byte(kind: str, dtype: str) -> None:
    values = np.array([[0, 255, 256], [4660, 43981, 65535]], dtype)
    if kind == "PPM":  # Not all versions of Pillow write these.
        data = b"P5 3 2 65535\n" + values.tobytes()
    else:
        data = encode(Image.frombytes("I;16" if dtype == "<u2" else "I;16B", (3, 2), values.tobytes()), kind)
    expected = np.repeat((values >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(decode_image(data), expected)


@pytest.mark.parametrize(("mode", "kind"), [("I", "32-bit integer"), ("F", "floating-point")])
def test_samples_without_a_range_are_refused(mode: str, kind: str) -> None:
    with pytest.raises(ImageError, match=f"{kind} samples have no agreed range @ <bytes>"):
        decode_image(encode(Image.new(mode, (3, 2), 7), "TIFF"))


def test_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decode_image(data), np.full((4, 4, 3), (255, 0, 0)))


def test_path_and_bytes_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(encode(Image.fromarray(noise()), "PNG"))
    np.testing.assert_array_equal(decode_image(path), noise())
    np.testing.assert_array_equal(decode_image(str(path)), decode_image(path.read_bytes()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an image of a known format"),
        (b"not an image", "not an image of a known format"),
        (encode(Image.fromarray(noise(60, 60)), "JPEG")[:-400], "damaged image: image file is truncated"),
        (encode(Image.fromarray(noise(60, 60)), "PNG")[:-400], "damaged image: image file is truncated"),
        (encode(Image.fromarray(noise(60, 60)), "GIF")[:-400], "damaged image: image file is truncated"),
        (encode(Image.fromarray(noise()), "PNG").replace(b"IDAT", b"IDAX"), "not an image of a known format"),
        (encode(Image.fromarray(noise()), "PNG")[:50] + bytes(600), "damaged image: "),
    ],
)
def test_broken_file_is_one_line_that_names_it(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match="^" + re.escape(message)) as caught:
        decode_image(path)
    assert str(caught.value).endswith(f" @ {path}")
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot read the image: No such file or directory @ .*absent\.png"):
        decode_image(tmp_path / "absent.png")
    with pytest.raises(ImageError, match=r"cannot read the image: .* @ "):
        decode_image(tmp_path)


@pytest.mark.parametrize("side", [9_500, 40_000])
def test_claimed_size_is_checked_before_pixels_exist(side: int) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    # 90 megapixels, as some cameras have, pass the limit with no warning (and then lack data); 1.6 gigapixels do not.
    message = "image file is truncated" if side == 9_500 else r"too many pixels: .* @ <bytes> \(an image this large"
    filters = list(warnings.filters)
    with pytest.raises(ImageError, match=message):
        decode_image(png)
    assert warnings.filters == filters


def test_damage_never_escapes_as_another_error() -> None:
    image = Image.fromarray(noise(24, 24))
    rng = np.random.default_rng(11)
    decoded = refused = 0
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO", "SGI", "DDS", "PCX"):
        whole = np.frombuffer(encode(image, kind), np.uint8)
        for _ in range(25):
            data = whole.copy()
            data[rng.integers(0, min(len(data), 200), 4)] = rng.integers(0, 256, 4)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # Pillow may warn of what it repairs.
                    assert decode_image(data[: rng.integers(1, 2 * len(data))].tobytes()).shape[2] == 3
                decoded += 1
            except ImageError:
                refused += 1
    assert decoded > 0
    assert refused > 0


def test_threads_decode_side_by_side() -> None:
    data = [encode(Image.fromarray(noise(20, 20 + side)), "PNG") for side in range(24)]
    with ThreadPoolExecutor(4) as pool:
        widths = [image.shape[1] for image in pool.map(decode_image, data)]
    assert widths == list(range(20, 44))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied"), "cannot read the image: Permission denied @ image.png"),
        (MemoryError(), "not enough memory to decode the image @ image.png"),
        (OSError("decoder error -2"), "damaged image: decoder error -2 @ image.png"),
        (EOFError(), "damaged image: EOFError @ image.png"),
    ],
)
def test_what_reading_raises_becomes_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    def fail(path: Path) -> bytes:
        raise error

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(ImageError) as caught:
        decode_image("image.png")
    assert str(caught.value) == message
