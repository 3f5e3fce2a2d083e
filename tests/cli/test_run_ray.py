"""``resnet-run --ray``: what is asked of Ray, by a stand-in, and Ray itself where it is installed."""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from support import ray_stand_in
from support.commands import Ran
from support.image_data import write_image
from support.training_run import narrow_spec

import resnet_compile as rc
from resnet_compile import ray_data
from resnet_compile.cli.run import main
from resnet_compile.errors import DeviceError


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A model, 70 images and one that is none."""
    rc.compile(narrow_spec(), rc.CompileOptions(labels=tuple("abcdefghij"))).save(tmp_path / "model.onnx")
    for number in range(70):
        write_image(tmp_path / "photos" / f"{number:02}.png", 32, 32, number)
    (tmp_path / "photos" / "33.png").write_bytes(b"junk")
    return tmp_path


@pytest.fixture
def resnet_run(place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    return lambda *words: Ran(main, (place / "model.onnx", place / "photos", *words), capfd)


def answers(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for shard in sorted(folder.glob("*.jsonl")) for line in shard.read_text().splitlines()]


def test_answers_are_those_of_this_process_and_a_run_goes_on_either_way(
    place: Path, resnet_run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnet_compile.shards.SHARD", 30)
    shards = ("--format", "jsonl", "--top", 2, "-o")
    assert resnet_run(*shards, place / "here").code == 1
    asked = ray_stand_in.install(monkeypatch)
    ran = resnet_run(*shards, place / "there", "--ray", "local", "--json")
    assert (ran.code, ran.err.splitlines()[-1]) == (1, "resnet-run: error: 1 of 70 images could not be read")
    assert answers(place / "there") == answers(place / "here")
    told = {key: ran.document[key] for key in ("ray", "device", "device_reason", "images")}
    assert told == {"ray": "local", "device": "cpu", "device_reason": "Ray has 4 cores and 0 GPUs", "images": 70}
    decoding, classifying = asked["stages"]
    assert decoding == {}
    assert classifying.pop("memory") > (place / "model.onnx").stat().st_size
    assert classifying == {"compute": {"min_size": 1, "max_size": 3}, "num_cpus": 1}
    assert (asked["address"], asked["usage"], asked["ended"]) == ("local", "0", True)
    sorted((place / "there").glob("*.jsonl"))[-1].unlink()
    ran = resnet_run(*shards, place / "there", "--ray", "local", "--resume", "--json")
    assert (ran.code, ran.document["resumed_at"], ran.document["images"]) == (0, 60, 70)
    assert answers(place / "there") == answers(place / "here")


def test_actors_get_a_gpu_each_where_there_are_some(
    place: Path, resnet_run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ray_stand_in.install(monkeypatch, gpus=8)
    resnet_run("--format", "jsonl", "--ray", "local")  # fails where there is none, as the stand-in's actors run here
    assert asked["stages"] == [{}, {"compute": {"min_size": 1, "max_size": 8}, "num_gpus": 1}]
    with ray_data.cluster("local") as ray:
        assert [str(ray.device(word)) for word in ("auto", "cpu", "tensorrt")] == ["cuda:0", "cpu", "tensorrt:0"]
        with pytest.raises(rc.ResnetCompileError, match=r"Ray chooses the GPU, got cuda:1 @ device \(cuda\)"):
            ray.device("cuda:1")
    ray_stand_in.install(monkeypatch)
    with ray_data.cluster("local") as ray:
        assert [str(ray.device(word)) for word in ("auto", "openvino")] == ["cpu", "openvino"]
        with pytest.raises(DeviceError, match=r"no GPU @ cuda \(--device cpu\)"):
            ray.device("cuda")


def test_what_an_actor_says_is_what_the_user_reads() -> None:
    told = "Traceback\n  File\nresnet_compile.errors.DeviceError: CUDA is not usable @ cuda:0 (pip)\n\n"
    cause = ray_data._cause(ValueError(told))
    assert (type(cause), str(cause)) == (DeviceError, "CUDA is not usable @ cuda:0 (pip)")
    assert str(ray_data._cause(ValueError("Traceback\n  File\nRayError: worse"))) == "Ray failed: RayError: worse"
    assert str(ray_data._cause(ValueError())) == "Ray failed: ValueError"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--ray", "local"], 2, "streams its answers @ ray (--format jsonl -o answers/)"),
        (["--ray", "http://x:1", "--format", "csv"], 2, "must be HOST:PORT, auto or local, got 'http://x:1' @ ray"),
        (["--ray", "x", "--format", "csv"], 2, "must be HOST:PORT, auto or local, got 'x' @ ray"),
        (["--ray", "local", "--format", "csv"], 4, 'Ray is not installed @ ray (pip install ".[ray]")'),
        (["--format", "parquet"], 2, "--format parquet needs -o FOLDER"),
        (
            ["--format", "parquet", "-o", "new"],
            2,
            'parquet needs pyarrow, which is not installed @ format (pip install ".[parquet]")',
        ),
    ],
)
def test_what_cannot_be_is_one_line(
    place: Path,
    resnet_run: Callable[..., Ran],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    ran = resnet_run(*words)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.splitlines()[-1] == f"resnet-run: error: {message}"
    assert not (place / "new").exists()


@pytest.fixture
def kill_run(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    return importlib.import_module("kill_run")


@pytest.mark.skipif(sys.platform != "linux", reason="finds the actor in /proc")
def test_an_actor_dies_and_every_image_is_answered_once(kill_run: ModuleType, tmp_path: Path) -> None:
    kill_run.write_images(tmp_path, 2000)
    names = sorted(map(str, (tmp_path / "photos").iterdir()))
    kill_run.watched(kill_run.run(tmp_path, "through", *names))
    kill_run.kill_actor(tmp_path, names)
    made = answers(tmp_path / "killed")
    assert [answer["image"] for answer in made] == names
    assert made == answers(tmp_path / "through")


def test_an_address_where_no_cluster_answers(kill_run: ModuleType, resnet_run: Callable[..., Ran]) -> None:
    ran = resnet_run("--format", "jsonl", "--ray", "127.0.0.1:1")
    message = "resnet-run: error: no Ray cluster answers: nothing within 10 s @ 127.0.0.1:1 (ray start --head starts a "
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.splitlines()[-1].startswith(message)
