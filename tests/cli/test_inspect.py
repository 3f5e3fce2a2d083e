"""resnet-inspect as a process."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from support.commands import command

from resnet_compile import CompileOptions, catalogue, compile, load_spec, plan_network
from resnet_compile.spec import spec_text


def test_totals_and_blocks_of_a_spec() -> None:
    document = json.loads(command("resnet-inspect", "resnet50", "--json").out)
    assert (document["parameters"], document["moving_statistics"], document["macs"]) == (
        25_568_360,
        45_440,
        3_482_255_360,
    )
    assert [part["name"] for part in document["parts"]] == [
        f"resnet_v2_50/{name}" for name in ("root", "block1", "block2", "block3", "block4", "head")
    ]
    for key in ("parameters", "moving_statistics", "macs"):
        assert sum(part[key] for part in document["parts"]) == document[key]
        assert all(type(part[key]) is int for part in document["parts"])
    assert len(document["end_points"]) == 75
    assert "parts" not in document["parts"][0]


def test_end_points_are_listed_with_the_layers() -> None:
    said = " ".join(command("resnet-inspect", "tiny", "--layers").out.split("\n\n")[-1].split())
    words = said.removeprefix("end points, for --outputs: ").split(", ")
    assert (words[0], words[-2:]) == ("conv1", ["logits", "predictions"])
    assert "block2/unit_1" in words
    assert "end points" not in command("resnet-inspect", "tiny").out


def test_layers_add_up() -> None:
    document = json.loads(command("resnet-inspect", "tiny", "--layers", "--json").out)
    for block in document["parts"]:
        for key in ("parameters", "moving_statistics", "macs"):
            assert sum(part[key] for part in block["parts"]) == block[key]
            for unit in block["parts"]:
                assert sum(part[key] for part in unit.get("parts", [unit])) == unit[key]
    shortcut = document["parts"][1]["parts"][1]["parts"][1]
    assert (shortcut["kind"], shortcut["output"], shortcut["parameters"]) == ("max pool 1x1, stride 2", [32, 4, 4], 0)


def test_the_table_is_aligned_and_separates_thousands() -> None:
    title, network, *_ = command("resnet-inspect", "resnet50").out.split("\n\n")
    assert title == "resnet_v2_50, input 3x224x224"
    header, *rows = network.splitlines()
    assert rows[-1].split() == ["total", "25,502,912", "25,568,360", "45,440", "3,482,255,360"]
    assert {len(row) for row in [header, *rows]} == {len(header)}


def test_published_weights_are_listed_with_their_network(tmp_path: Path) -> None:
    weights = command("resnet-inspect", "timm_resnet50").out.split("\n\n")[-1].splitlines()
    assert weights[2].split()[:6] == ["a1_in1k", "apache-2.0", "224", "0.95", "bicubic", "80.382"]
    document = json.loads(command("resnet-inspect", "timm_resnet50", "--json").out)
    assert len(document["published_weights"]) == len(weights) - 2
    own = tmp_path / "resnet50.json"
    own.write_text(spec_text(load_spec("resnet50").replace(output_stride=16)))
    assert "published" not in command("resnet-inspect", str(own)).out, "a network of one's own of the same name"


@pytest.mark.parametrize("external", [False, True])
def test_a_model_tells_its_spec_and_its_interface(external: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    options = CompileOptions(seed=3, opset=17, outputs=("block1",), batch=2, layout="nhwc", external_data=external)
    compile(load_spec("tiny"), options).save(path)
    document = json.loads(command("resnet-inspect", path, "--json").out)
    assert document["parameters"] == 16_714
    assert document["model"]["seed"] == "3"
    assert document["model"]["opset"] == 17
    assert document["model"]["inputs"] == {"input": [2, 32, 32, 3]}
    assert document["model"]["outputs"] == {"tiny/block1": [2, 4, 4, 32]}
    text = command("resnet-inspect", path).out
    assert "  outputs: tiny/block1 [2, 4, 4, 32]\n" in text


def test_only_the_head_of_a_large_model_is_read(tmp_path: Path) -> None:
    """Weights may be damaged: they are stepped over."""
    path = tmp_path / "model.onnx"
    compile(load_spec("tiny")).save(path)
    wire = bytearray(path.read_bytes())
    wire[-40:] = b"\xff" * 40  # the values of the last tensor, ten biases
    path.write_bytes(wire)
    assert command("resnet-inspect", path).code == 0


@pytest.mark.parametrize("cut", [0, 1, 100, 5000, 50_000])
def test_a_truncated_model_is_refused(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    compile(load_spec("tiny")).save(path)
    path.write_bytes(path.read_bytes()[:cut])
    done = command("resnet-inspect", path)
    assert done.code == 2
    assert done.err.count("\n") == 1


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    import onnx

    noise = tmp_path / "noise"
    noise.write_bytes(b"\x08" + bytes(range(256)))
    said = f"resnet-inspect: error: not a checkpoint of a known format @ {noise} (read are: "
    assert command("resnet-inspect", noise).err.startswith(said)
    foreign = tmp_path / "foreign.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])), foreign)
    assert command("resnet-inspect", foreign).out.startswith(f"{foreign}: ONNX, 0 tensors, 0 bytes\n")
    assert command("resnet-inspect", tmp_path / "none.json").code == 2
    (tmp_path / "folder").mkdir()
    said = f"resnet-inspect: error: a folder without a checkpoint in it @ {tmp_path}/folder ("
    assert command("resnet-inspect", tmp_path / "folder").err.startswith(said)
    assert command("resnet-inspect").code == 2


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.pth", b"", "an empty file"),
        ("page.pth", b"<html><title>Sign in</title>", "a web page (Sign in), not the file that it leads to"),
        ("error.safetensors", b'{"error": "not found"}', "a text, "),
        ("model.ckpt.data-00000-of-00001", bytes(8), "the data of a TensorFlow checkpoint without its index"),
        ("broken.json", b"{", "not JSON"),
        ("broken", b"{", "not JSON"),
    ],
)
def test_what_is_nothing_to_show_is_told_what_it_is(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    for given in {name, name.partition(".data-")[0]}:
        done = command("resnet-inspect", tmp_path / given)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert done.err.startswith(f"resnet-inspect: error: {words}")


def test_a_name_of_the_catalogue_is_not_looked_for_among_files(tmp_path: Path) -> None:
    (tmp_path / "tiny.data-00000-of-00001").write_bytes(b"")
    assert command("resnet-inspect", "tiny", cwd=tmp_path).out.startswith("tiny, input 3x32x32\n")


def checkpoint(folder: Path, spec_name: str, *, num_classes: int | None = None) -> Path:
    """An .npz of a catalogue network under TF-slim's names and in its layouts, with a step counter."""
    spec = load_spec(spec_name)
    if num_classes:
        spec = spec.replace(head=spec.head.replace(num_classes=num_classes))
    shapes = {p.name: p.shape for p in plan_network(spec).parameters}
    laid_out = {k: tuple(v[i] for i in (2, 3, 1, 0)) if len(v) == 4 else v for k, v in shapes.items()}
    arrays = {name: np.zeros(shape, np.float32) for name, shape in laid_out.items()}
    np.savez(folder / "weights.npz", **arrays, global_step=np.int64(3))
    return folder / "weights.npz"


def test_a_checkpoint_tells_its_tensors_and_what_they_fit(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, "tiny")
    document = json.loads(command("resnet-inspect", path, "--json").out)
    tensors = {tensor["name"]: tensor for tensor in document["tensors"]}
    assert tensors["tiny/conv1/weights"] == {
        "name": "tiny/conv1/weights",
        "dtype": "float32",
        "shape": [7, 7, 3, 16],
        "bytes": 4 * 7 * 7 * 3 * 16,
    }
    assert tensors["global_step"]["dtype"] == "int64"
    assert document["fits"] == [
        {"spec": "tiny", "naming": "tf-slim", "section": "tiny", "num_classes": None, "head": None, "options": ""}
    ]
    assert (document["sections"], document["nearest"], document["unread"]) == (["tiny"], [], {})
    text = command("resnet-inspect", path).out
    assert text.startswith(f"{path}: ")
    assert text.endswith("fits tiny (tf-slim naming, in section tiny)\n")


def test_a_model_of_another_exporter_is_a_checkpoint(tmp_path: Path) -> None:
    """Ours under names that say nothing: only the structure is left to tell what it is."""
    import onnx

    model = compile(load_spec("tiny")).to_proto()
    names = {tensor.name: f"onnx::{index}" for index, tensor in enumerate(model.graph.initializer)}
    for tensor in model.graph.initializer:
        tensor.name = names[tensor.name]
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    text = command("resnet-inspect", tmp_path / "foreign.onnx").out
    assert text.splitlines()[-1] == "fits tiny (by structure)"


def test_a_checkpoint_prints_on_a_screen(tmp_path: Path) -> None:
    """ResNet-50's 268 tensors; with --layers every one has a line."""
    path = checkpoint(tmp_path, "resnet50")
    text = command("resnet-inspect", path).out
    assert len(text.splitlines()) < 40
    assert max(map(len, text.splitlines()[2:])) <= 80
    lines = [line.split() for line in text.splitlines()]
    for scope, inside in (("block1/", "/block1/"), ("unit_1/bottleneck_v2/", "/block1/unit_1/")):
        sizes = [p.size for p in plan_network(load_spec("resnet50")).parameters if inside in p.name]
        assert [scope, str(len(sizes)), f"{sum(sizes):,}", "float32"] in lines
    assert ["global_step", "1", "1", "int64", "scalar"] in lines
    layers = command("resnet-inspect", path, "--layers").out.splitlines()
    assert len(layers) == 273 + 5
    assert any(line.split() == ["resnet_v2_50/conv1/biases", "float32", "64", "256"] for line in layers)


def test_what_nearly_fits_is_told_with_what_is_missing(tmp_path: Path) -> None:
    with np.load(checkpoint(tmp_path, "tiny")) as arrays:
        kept = {name: arrays[name] for name in arrays if "block1/unit_1/bottleneck_v2/conv2/" not in name}
    np.savez(tmp_path / "part.npz", **kept)
    document = json.loads(command("resnet-inspect", tmp_path / "part.npz", "--json").out)
    assert document["fits"] == []
    (near,) = document["nearest"]
    lost = {"tiny/block1/unit_1/bottleneck_v2/conv2/weights", "tiny/block1/unit_1/bottleneck_v2/conv2/BatchNorm/gamma"}
    assert (near["spec"], near["parameters"] - near["filled"], lost <= {*near["missing"]}) == ("tiny", 5, True)
    *_, fit, missing = command("resnet-inspect", tmp_path / "part.npz").out.splitlines()
    assert fit.startswith(f"nearly tiny: {near['filled']} of {near['parameters']} parameters fit (tf-slim naming")
    assert missing.startswith("  missing: tiny/block1/unit_1/bottleneck_v2/conv2/")
    assert missing.endswith(" more")


def test_types_that_are_not_read_and_the_formats_facts(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["layers/dense/vars/0"] = np.zeros((3, 4))
        file["layers/dense_1/vars/0"] = np.array([b"text"])
    text = command("resnet-inspect", tmp_path / "a.h5").out
    assert "\nnot read: dense_1/0 (of type string)\n" in text
    assert "the file has no layer names" in text
    archive = Path(__file__).parents[1] / "data" / "readers" / "keras33.keras"
    assert "\n  Keras: 3.3." in command("resnet-inspect", archive).out


def test_another_number_of_classes_is_told(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, "tiny", num_classes=11)
    assert "fits tiny with --num-classes 11 (tf-slim naming, in section tiny)\n" in command("resnet-inspect", path).out


def test_a_checkpoint_of_nothing_known_fits_nothing(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    done = command("resnet-inspect", tmp_path / "other.npz")
    assert (done.code, done.out.splitlines()[-1]) == (0, "fits no network of the catalogue")


def test_the_catalogue_is_listed_with_sizes_and_origins() -> None:
    document = json.loads(command("resnet-inspect", "--catalogue", "--json").out)
    rows = {row.pop("name"): row for row in document["catalogue"]}
    assert set(rows) == set(catalogue())
    assert rows["resnet_v1_50"] == {
        "parameters": 25_557_032,
        "moving_statistics": 53_120,
        "macs": 3_482_255_360,
        "origin": "tf_slim.nets.resnet_v1.resnet_v1_50",
    }
    lines = command("resnet-inspect", "--catalogue").out.splitlines()
    assert len(lines) == 1 + len(rows)
    assert any("wrn_28_10" in line and "36,220,634" in line and "5,214,492,928" in line for line in lines)
    assert command("resnet-inspect", "tiny", "resnet50", "--catalogue").code == 2


def test_a_pattern_filters_the_catalogue_and_its_aliases() -> None:
    rows = json.loads(command("resnet-inspect", "--catalogue", "timm_*50*", "--json").out)["catalogue"]
    origins = {row["name"]: row["origin"] for row in rows}
    assert {"timm_seresnet50", "timm_resnet50", "timm_resnetv2_50"} <= set(origins)
    assert all(name.startswith("timm_") and "50" in name for name in origins)
    assert origins["timm_resnet50"].startswith("torchvision_resnet50: torchvision.models.resnet50")
    none = command("resnet-inspect", "--catalogue", "vgg*")
    assert (none.code, none.out) == (2, "")
    assert "no name of the catalogue matches @ vgg*" in none.err


def test_two_networks_stand_side_by_side(tmp_path: Path) -> None:
    """The source's example: a plain unit and a bottleneck, both at 256 channels."""
    for name, unit, args in (
        ("plain", "torchvision_basic", {"depth": 256}),
        ("bottleneck", "torchvision_bottleneck", {"depth": 256, "depth_bottleneck": 64}),
    ):
        spec = {
            "name": name,
            "input": {"height": 14, "width": 14, "channels": 256},
            "root": None,
            "blocks": [{"scope": "block1", "unit": {"kind": unit}, "args": [args]}],
            "head": {"num_classes": None},
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(spec))
    both = (tmp_path / "plain.json", tmp_path / "bottleneck.json")
    lines = command("resnet-inspect", *both, "--layers").out.splitlines()
    assert lines[0] == "plain, input 256x14x14 | bottleneck, input 256x14x14"
    (unit,) = (line for line in lines if line.lstrip().startswith("unit_1"))
    assert unit.split() == [
        *("unit_1", "unit", "1,179,648", "1,180,672", "231,211,008"),
        *("unit", "69,632", "70,400", "13,647,872"),
    ]
    (conv3,) = (line for line in lines if line.lstrip().startswith("conv3"))
    assert conv3.split() == ["conv3", "conv", "1x1", "16,384", "16,896", "3,211,264"]
    plain, bottleneck = json.loads(command("resnet-inspect", *both, "--layers", "--json").out)["networks"]
    assert (plain["name"], plain["parts"][0]["parts"][0]["weights"]) == ("plain", 1_179_648)
    assert (bottleneck["name"], bottleneck["parts"][0]["parts"][0]["weights"]) == ("bottleneck", 69_632)


def test_parts_that_one_network_alone_has_keep_their_place() -> None:
    lines = command("resnet-inspect", "cifar_resnet20", "resnet50").out.splitlines()
    assert [line.split()[0] for line in lines[3:]] == ["root", "block1", "block2", "block3", "block4", "head", "total"]


def test_a_pickle_that_would_run_code_is_told_of(tmp_path: Path) -> None:
    import pickle

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return eval, ("1",)

    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"w": np.ones(2), "x": Payload()}))
    done = command("resnet-inspect", path)
    warning = "names builtins.eval, which can run code when PyTorch unpickles the file; not run here"
    assert done.code == 0
    assert done.out.startswith(f"{path}: pickle, 1 tensors, 16 bytes\n  warning: {warning}\n")
    assert json.loads(command("resnet-inspect", path, "--json").out)["warnings"] == [warning]


def test_many_specs_are_rows_of_csv() -> None:
    done = command("resnet-inspect", "tiny", "resnet50", "cifar_resnet20", "--csv", "--batch", 2, "--num-classes", 7)
    assert (done.code, done.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["network"] for row in rows] == ["tiny", "resnet50", "cifar_resnet20"]
    spec = load_spec("resnet50")
    plan = plan_network(spec.replace(head=spec.head.replace(num_classes=7)))
    assert (int(rows[1]["parameters"]), int(rows[1]["macs"])) == (plan.num_parameters, 2 * plan.macs)
    assert {"activation_bytes", "activation_bytes_peak", "bytes_moved", "arithmetic_intensity"} <= {*rows[0]}
    assert {(row["batch"], row["height"]) for row in rows} == {("2", "32"), ("2", "224")}


def test_every_value_is_a_row_with_layers() -> None:
    done = command("resnet-inspect", "tiny", "--csv", "--layers", "--size", 64)
    rows = list(csv.DictReader(io.StringIO(done.out)))
    spec = load_spec("tiny")
    larger = plan_network(spec.replace(input=spec.input.replace(height=64, width=64)))
    assert sum(int(row["macs"]) for row in rows) == larger.macs
    assert (rows[0]["value"], rows[0]["operator"], rows[0]["shape"]) == ("tiny/conv1", "Conv", "1x16x32x32")
    document = json.loads(command("resnet-inspect", "tiny", "--csv", "--layers", "--size", 64, "--json").out)
    (network,) = document["networks"]
    assert [str(each["activation_bytes"]) for each in network["values"]] == [row["activation_bytes"] for row in rows]
    assert network["macs"] == larger.macs


def test_three_networks_are_a_table() -> None:
    done = command("resnet-inspect", "tiny", "resnet50", "cifar_resnet20", "network.schema.json", "--size", "64x32")
    lines = done.out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["tiny", "3x64x32"],
        ["resnet50", "3x64x32"],
        ["cifar_resnet20", "3x64x32"],
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny", "--batch", "3"], "--batch needs --csv"),
        (["tiny", "--size", "dynamic"], "size must be fixed for costs, got dynamic @ size"),
        (["tiny", "resnet18", "--csv"], "@ resnet18 (did you mean torchvision_resnet18 or"),
    ],
)
def test_what_has_no_costs_is_told(arguments: list[str], message: str) -> None:
    done = command("resnet-inspect", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    page, model = tmp_path / "page.html", tmp_path / "model.onnx"
    compile(load_spec("tiny")).save(model)
    document = json.loads(command("resnet-inspect", model, "--html", page, "--json").out)
    assert document["name"] == "tiny"
    first = page.read_text()
    assert first.endswith("</html>\n")
    assert "<h1>tiny</h1>" in first
    weights = checkpoint(tmp_path, "tiny")
    for given, where in (
        ((model, "resnet50", "resnet101"), "--html takes one SOURCE, or two side by side"),
        (("--catalogue",), "--html takes one SOURCE, or two side by side"),
        ((weights,), "--html applies to specs, not to checkpoints"),
    ):
        done = command("resnet-inspect", *given, "--html", page)
        assert (done.code, done.out, done.err) == (2, "", f"resnet-inspect: error: {where}\n")
    assert page.read_text() == first
    csv_too = command("resnet-inspect", "tiny", "resnet50", "--html", page, "--csv", "--batch", "2")
    assert csv_too.out.splitlines()[1].startswith("tiny,2,32,32,")
    assert "<h1>tiny and resnet50</h1>" in page.read_text()
