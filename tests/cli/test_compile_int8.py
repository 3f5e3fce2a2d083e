"""resnet-compile --dtype int8: what it prints, what it refuses, what it leaves behind."""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
from PIL import Image
from support.commands import command
from support.models import run
from support.specs import tiny_document

from resnet_compile import CompileOptions, load_spec, plan_network
from resnet_compile.cli.compile import cli
from resnet_compile.errors import OptionError
from resnet_compile.precision import PRECISIONS
from resnet_compile.quantize import folder_images
from resnet_compile.targets import Target


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "more/c.png"):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


def metadata(path: Path) -> dict[str, str]:
    return {entry.key.removeprefix("resnet_compile."): entry.value for entry in onnx.load(path).metadata_props}


def test_a_table_on_stderr_and_a_warning_without_images(tmp_path: Path) -> None:
    done = command("resnet-compile", "tiny", "--dtype", "int8", "-o", "model.onnx", cwd=tmp_path)
    assert done.code == 0
    warning, *table = done.err.splitlines()
    assert "WARNING: calibrated on random numbers" in warning
    assert [line.split()[0] for line in table] == ["end", "tiny/block1", "tiny/block2", "tiny/logits", "top-1"]
    assert table[-1].endswith("against float32 on 32 random images")
    assert done.out.startswith("model.onnx: tiny, ")
    assert metadata(tmp_path / "model.onnx")["dtype"] == "int8"


def test_json_is_one_document(tmp_path: Path, photographs: Path) -> None:
    flags = ["--dtype", "int8", "--calibration", photographs, "--json"]
    done = command("resnet-compile", "tiny", *flags, "-o", "model.onnx", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    told = json.loads(done.out)["quantization"]
    assert (told["source"], told["images"], told["method"]) == ("images", 3, "minmax")
    assert [each["name"] for each in told["points"]] == ["tiny/block1", "tiny/block2", "tiny/logits"]
    assert all(each["snr_db"] > 10 for each in told["points"])
    assert metadata(tmp_path / "model.onnx")["calibration_images"] == "3"


def test_every_flag_reaches_the_model(tmp_path: Path, photographs: Path) -> None:
    flags = ["--outputs", "block1,logits", "--batch", "2", "--size", "40x48", "--layout", "nhwc", "--opset", "21"]
    flags += ["--keep-float", "conv1,block2/unit_1", "--calibration", str(photographs), "--target", "cpu"]
    done = command("resnet-compile", "tiny", "--dtype", "int8", *flags, "-o", "model.onnx", cwd=tmp_path)
    assert done.code == 0, done.err
    model = onnx.load(tmp_path / "model.onnx")
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [2, 40, 48, 3]
    assert model.opset_import[0].version == 21
    assert metadata(tmp_path / "model.onnx")["keep_float"] == "conv1,block2/unit_1"
    made = run(model, np.zeros((2, 40, 48, 3), np.float32))
    assert {name: values.shape for name, values in made.items()} == {
        "tiny/block1": (2, 5, 6, 32),
        "tiny/logits": (2, 10),
    }


def test_it_is_verified_on_images_and_says_where_they_are_those_of_its_calibration(
    tmp_path: Path, photographs: Path
) -> None:
    flags = ["--dtype", "int8", "--verify", "--json"]
    for more, images in (([], "random"), (["--calibration", photographs], "given")):
        done = command("resnet-compile", "tiny", *flags, *more, "-o", "model.onnx", cwd=tmp_path)
        assert done.code == 0
        rows = json.loads(done.out)["verification"]
        assert {each["images"] for each in rows} == {images}
        assert all(0 < each["error"] <= each["bound"] for each in rows)
        assert ("verified on the images of its calibration, which proves little" in done.err) == bool(more)


def test_of_many_images_some_are_held_out_to_judge_by(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(70):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / f"{number:02}.png")
    plan = plan_network(load_spec("tiny"))
    calibrated = folder_images(tmp_path, plan, "nchw").values
    judged = folder_images(tmp_path, plan, "nchw", held_out=True).values
    assert (len(calibrated), len(judged)) == (64, 6)
    assert len({row.tobytes() for row in np.concatenate([calibrated, judged])}) == 70
    flags = ["--dtype", "int8", "--verify", "--calibration", tmp_path]
    done = command("resnet-compile", "tiny", *flags, "-o", tmp_path / "model.onnx")
    assert (done.code, "verified on what it was" in done.err) == (0, False)


def test_the_other_commands_take_the_model(tmp_path: Path, photographs: Path) -> None:
    flags = ["--dtype", "int8", "--calibration", photographs]
    assert command("resnet-compile", "tiny", *flags, "-o", "model.onnx", cwd=tmp_path).code == 0
    ran = command("resnet-run", "model.onnx", photographs, "--device", "cpu", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    inspected = command("resnet-inspect", "model.onnx", "--json", cwd=tmp_path)
    assert inspected.code == 0, inspected.err
    assert "calibration_method" in inspected.out
    timed = command("resnet-bench", "model.onnx", "--device", "cpu", "--steps", "2", "--batch", "1", cwd=tmp_path)
    assert timed.code == 0, timed.err


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--calibration", "nowhere"], 2, "no such folder @ nowhere"),
        (["--calibration", "empty"], 2, "no images in this folder @ empty"),
        (
            ["--calibration", "damaged"],
            1,
            "1 of 1 images cannot be read, the first: not an image of a known format",
        ),
        (["--keep-float", "blok1"], 2, "no scope 'blok1' @ keep_float (did you mean block1 "),
        (["--keep-float", "conv1,"], 2, "a name is empty"),
        (["--target", "cuda"], 2, "target must be portable, cpu, tensorrt or npu for int8, got cuda @ $.target"),
        (["--io-dtype", "float16"], 2, "--io-dtype is for --dtype float16, got int8 @ io_dtype"),
        (["--training-step", "--batch", "2"], 2, "does not apply to a training step"),
    ],
)
def test_bad_input_is_one_line_and_leaves_what_was_there(
    flags: list[str], code: int, message: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "a.png").write_bytes(b"no image")
    (tmp_path / "model.onnx").write_bytes(b"before")
    done = command("resnet-compile", "tiny", "--dtype", "int8", *flags, "-o", "model.onnx", cwd=tmp_path)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert (tmp_path / "model.onnx").read_bytes() == b"before"
    assert {entry.name for entry in tmp_path.iterdir()} == {"empty", "damaged", "model.onnx"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--keep-float", "conv1"], "@ keep_float"),
        (["--keep-float", "conv1", "--dtype", "float16"], "@ keep_float"),
        (["--calibration", "."], "@ calibration"),
        (["--calibration", ".", "--training-step", "--batch", "2"], "--calibration does not apply"),
    ],
)
def test_flags_that_only_int8_reads(flags: list[str], words: str, tmp_path: Path) -> None:
    done = command("resnet-compile", "tiny", *flags, "-o", "model.onnx", cwd=tmp_path)
    assert done.code == 2
    assert words in done.err
    assert list(tmp_path.iterdir()) == []


def test_calibration_images_have_three_channels(tmp_path: Path, photographs: Path) -> None:
    document = tiny_document()
    document["input"] |= {"channels": 1}
    (tmp_path / "spec.json").write_text(json.dumps(document))
    flags = ["--dtype", "int8", "--calibration", photographs]
    done = command("resnet-compile", "spec.json", *flags, "-o", "model.onnx", cwd=tmp_path)
    assert done.code == 2
    assert "the network must take 3 channels to be calibrated on images, got 1 @ calibration" in done.err


def test_of_many_images_some_are_taken_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resnet_compile import plan_network
    from resnet_compile.images import SCHEMES
    from resnet_compile.quantize import images as module

    for level in range(10):
        Image.new("RGB", (32, 32), (25 * level,) * 3).save(tmp_path / f"{level}.png")
    monkeypatch.setattr(module, "MOST_IMAGES", 4)
    plan = plan_network(load_spec("tiny"))
    taken = module.folder_images(tmp_path, plan, "nchw")
    assert taken.source == "images"
    assert taken.values.shape == (4, 3, 32, 32)
    scheme = SCHEMES["inception"]
    for values, level in zip(taken.values, (0, 2, 5, 7), strict=True):
        expected = scheme(np.full((32, 32, 3), 25 * level, np.uint8), 32, 32)
        np.testing.assert_array_equal(values, expected.transpose(2, 0, 1))


def test_every_precision_is_on_the_command_line() -> None:
    flags = {option.name: option.type for option in cli.params}
    assert tuple(flags["dtype"].choices) == tuple(PRECISIONS)
    assert tuple(flags["target"].choices) == get_args(Target)
    for word, precision in PRECISIONS.items():
        assert CompileOptions(dtype=word).dtype == precision()
        assert set(precision.targets) <= set(get_args(Target))
    with pytest.raises(OptionError, match=r"kind must be one of 'float32', .*, got 'float16 ' @ \$\.dtype\.kind"):
        CompileOptions(dtype="float16 ")


def test_one_bad_image_is_left_out_and_told(tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(19):
        Image.new("RGB", (40, 40), (index * 13, 30, 200)).save(folder / f"{index:02}.png")
    (folder / "broken.png").write_bytes(b"no image")
    flags = ["--calibration", "photos", "--verify", "--json"]
    told = "left out: not an image of a known format @ photos/broken.png"
    done = command("resnet-compile", "tiny", "--dtype", "int8", "-o", "model.onnx", *flags, cwd=tmp_path)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["notes"] == [told]
    assert document["quantization"]["images"] == 19
    assert done.err.count(told) == 1
    for more in ([], ["--preprocess", "model"]):
        done = command("resnet-compile", "tiny", "-o", "model.onnx", *flags, *more, cwd=tmp_path)
        assert (done.code, done.err.count(told)) == (0, 1), done.err
    (folder / "another.png").write_bytes(b"")
    (folder / "third.png").write_bytes(b"")
    for more in (["--dtype", "int8"], ["--preprocess", "model"]):
        done = command("resnet-compile", "tiny", "-o", "other.onnx", *flags, *more, cwd=tmp_path)
        assert done.code == 1
        assert "3 of 22 images cannot be read, the first: " in done.err
        assert not (tmp_path / "other.onnx").exists()
