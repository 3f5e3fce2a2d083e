"""Profiles: made-up files whose sums are known, and one that onnxruntime itself writes."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.machine import tiny_model

from resnet_compile.bench.profile import NO_SCOPE, Profile, read_profile
from resnet_compile.errors import ModelFileError
from resnet_compile.runtime import Session, SessionOptions

NET = "outer/net"


def node(name: str, operator: str, start: int, microseconds: int) -> dict[str, Any]:
    arguments = {"op_name": operator, "provider": "CPUExecutionProvider"}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": start, "dur": microseconds, "args": arguments}


def run_at(start: int, scale: int = 1) -> list[dict[str, Any]]:
    return [
        {"cat": "Session", "name": "model_run", "ts": start, "dur": 100, "args": {}},
        {"cat": "Node", "name": f"{NET}/conv1_fence_before", "ts": start, "dur": 999, "args": {"op_name": "Conv"}},
        node(f"{NET}/conv1_nchwc", "Conv", start + 1, 10 * scale),
        node(f"fused {NET}/block1/unit_1/bottleneck_v2/conv1/Conv", "FusedConv", start + 2, 20 * scale),
        node(f"{NET}/block1/unit_1/bottleneck_v2/preact/BatchNormalization_bn_nchwc", "Conv", start + 3, 30 * scale),
        node(f"{NET}/block2/unit_1/bottleneck_v2/add", "Add", start + 4, 30 * scale),
        node("ReorderOutput", "ReorderOutput", start + 5, 6 * scale),
        node("predictions", "Softmax", start + 6, 4 * scale),
    ]


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    """Two runs, of which the second takes twice the first's time, after one that is to be left out."""
    path = tmp_path / "profile.json"
    path.write_text(json.dumps([*run_at(1000, 50), *run_at(2000), *run_at(3000, 2)]))
    return read_profile(path, "net.onnx", 4, skip=1)


def test_sums_by_scope(profile: Profile) -> None:
    assert profile.runs == 2
    shares = profile.by_scope()
    assert [(share.name, share.nodes) for share in shares] == [
        ("conv1", 1),
        ("block1", 2),
        ("block2", 1),
        (NO_SCOPE, 2),
    ]
    assert [share.seconds * 1e6 for share in shares] == pytest.approx([15, 75, 45, 15])
    assert [share.fraction for share in shares] == pytest.approx([0.1, 0.5, 0.3, 0.1])


def test_sums_by_deeper_scopes(profile: Profile) -> None:
    names = [share.name for share in profile.by_scope(4)]
    assert names == [
        "conv1",
        "block1/unit_1/bottleneck_v2/conv1",
        "block1/unit_1/bottleneck_v2/preact",
        "block2/unit_1/bottleneck_v2/add",
        NO_SCOPE,
    ]


def test_sums_by_layer_in_our_names(profile: Profile) -> None:
    assert [(share.name, share.nodes) for share in profile.by_layer()] == [
        ("conv1", 1),
        ("block1/unit_1/bottleneck_v2/conv1", 1),
        ("block1/unit_1/bottleneck_v2/preact", 1),
        ("block2/unit_1/bottleneck_v2/add", 1),
        ("ReorderOutput", 1),
        ("predictions", 1),
    ]


def test_operators_of_one_layer_are_added_up() -> None:
    names = ("net/block1/conv1/Conv", "net/block1/conv1/BatchNormalization", "net/block1/conv1")
    (share,) = [each for each in read_names(*names, "net/block2/Conv").by_layer() if each.name == "block1/conv1"]
    assert (share.nodes, share.seconds) == (3, 3.0)


def test_sums_by_operator_greatest_first(profile: Profile) -> None:
    shares = profile.by_operator()
    assert {share.name: share.seconds * 1e6 for share in shares} == pytest.approx(
        {"Conv": 60, "Add": 45, "FusedConv": 30, "ReorderOutput": 9, "Softmax": 6}
    )
    assert [share.seconds for share in shares] == sorted((share.seconds for share in shares), reverse=True)
    assert sum(share.fraction for share in shares) == pytest.approx(1)


def test_nodes_keep_their_names_and_counts(profile: Profile) -> None:
    assert (profile.model, profile.batch, profile.runs) == ("net.onnx", 4, 2)
    assert {each.calls for each in profile.nodes} == {2}
    # 10 and 20 us in the two runs.
    assert profile.nodes[0].seconds * 1e6 == pytest.approx(15)
    assert profile.nodes[0].name == f"{NET}/conv1_nchwc"
    assert profile.nodes[0].provider == "CPUExecutionProvider"


def test_names_without_any_scope() -> None:
    nodes = read_names("node_conv2d", "node_relu")
    assert [(share.name, share.nodes) for share in nodes.by_scope()] == [(NO_SCOPE, 2)]


def read_names(*names: str) -> Profile:
    from resnet_compile.bench.profile import NodeTime

    return Profile("net", 1, 1, tuple(NodeTime(name, "Conv", "", 1.0, 1) for name in names))


def test_one_scope_alone() -> None:
    assert [share.name for share in read_names("net/block1/conv", "net/block1/add").by_scope()] == ["conv", "add"]


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '[{"name": "model_run"}]', '[{"name": "model_run", "ts": 1}]', "[1]", '{"a": [1]}']
)
def test_what_is_no_profile_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "profile.json"
    path.write_text(content)
    with pytest.raises(ModelFileError, match="not a profile of onnxruntime @ "):
        read_profile(path, "net", 1, skip=1)
    with pytest.raises(ModelFileError, match="not a profile of onnxruntime @ "):
        read_profile(tmp_path / "absent.json", "net", 1)


def test_what_onnxruntime_writes_is_read(tmp_path: Path) -> None:
    import numpy as np

    options = SessionOptions(threads=1, profile=str(tmp_path / "profile"))
    session = Session.open(tiny_model(), "cpu", options)
    for _ in range(3):
        session.run({"x": np.ones((2, 3), np.float32)})
    profile = read_profile(session.end_profile(), "tiny", 2, skip=1)
    assert profile.runs == 2
    assert {share.name: share.nodes for share in profile.by_operator()} == {"Add": 1, "Relu": 1}
    assert {node.calls for node in profile.nodes} == {2}
    assert {node.provider for node in profile.nodes} == {"CPUExecutionProvider"}
