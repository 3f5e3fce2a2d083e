"""The names of tensors: their paths in the value of a pickle."""

from typing import Any

import numpy as np
import pytest

from resnet_compile.checkpoints.torch import walk
from resnet_compile.checkpoints.torch.values import Name, PickleError, Record, Storage, StorageType, TensorView


def one() -> TensorView:
    return TensorView(Storage("0", StorageType(None), 1), np.dtype("u1"), 0, (), ())


def record(function: str, *arguments: Any, **state: Any) -> Record:
    return Record(Name("m", function), arguments, [state] if state else [])


def layer(parameters: Any = None, modules: Any = None, **others: Any) -> Record:
    return record("Layer", _parameters=parameters or {}, _buffers={}, _modules=modules or {}, **others)


SHARED = {"w": one()}
BLOCK = layer({"w": one()})


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ({"conv1.weight": one(), "epoch": 3, 7: None}, ["conv1.weight"]),
        ({"state_dict": {"a.w": one()}, "epoch": 1}, ["state_dict/a.w"]),
        ({"optimizer": {"state": {0: {"m": one()}}}}, ["optimizer/state/0/m"]),
        ([{"w": one()}, (one(),)], ["0/w", "1/0"]),
        (one(), ["tensor"]),
        ({"model": SHARED, "again": SHARED}, ["model/w"]),
        ({"trainer": record("Trainer", model=SHARED), "model": SHARED}, ["model/w"]),
        ({"trainer": record("Trainer", w=one()), "model": SHARED}, ["model/w", "trainer/w"]),
        (record("Counter", {"w": one()}), ["w"]),
        ({"x": record("Pair", one(), one())}, ["x/(0)", "x/(1)"]),
        (Record(Name("m", "Slots"), (), [(None, {"w": one()})]), ["w"]),
        (Record(Name("m", "Config"), (), [], {"w": one()}, [one()]), ["w", "0"]),
        (layer({"w": one()}, {"0": layer({"w": one()})}), ["w", "0.w"]),
        ({"model": layer({"w": one()}, {"0": layer({"w": one()})})}, ["model.w", "model.0.w"]),
        (layer({"weight_g": one(), "weight_v": one()}, None, weight=one()), ["weight_g", "weight_v"]),
        (layer({}, {"net": BLOCK, "again": BLOCK}), ["net.w", "again.w"]),  # as `state_dict` has it
        (layer({}, {"a": layer({"w": one()}, None, mask=[one()])}, scale={"x": one()}), ["a.w", "scale/x", "a.mask/0"]),
        (
            Record(Name("__torch__.nets", "Net"), (), [{"a": Record(Name("__torch__", "L"), (), [{"w": one()}])}]),
            ["a.w"],
        ),
    ],
)
def test_paths_of_tensors(value: object, names: list[str]) -> None:
    assert list(walk.tensors_in(value)) == names


def test_two_tensors_of_one_path() -> None:
    other = TensorView(Storage("1", StorageType(None), 1), np.dtype("u1"), 0, (), ())
    with pytest.raises(PickleError, match="two tensors are called a/b"):
        walk.tensors_in({"a": {"b": one()}, "a/b": other})
    assert list(walk.tensors_in({"a": {"b": one()}, "a/b": one()})) == ["a/b"]


def test_a_module_that_holds_itself() -> None:
    endless = layer({"w": one()})
    endless.states[0]["_modules"]["again"] = endless
    with pytest.raises(PickleError, match="levels deep"):
        walk.tensors_in(endless)


# Damaged archives.
