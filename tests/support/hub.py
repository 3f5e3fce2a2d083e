"""A hub's folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from resnet_compile import NetworkSpec, plan_network
from resnet_compile.spec.catalogue import as_spec
from resnet_compile.weights.naming import Naming
from resnet_compile.weights.tables import TORCHVISION


def write_hub(folder: Path, config: object, spec: str | NetworkSpec = "torchvision_resnet18") -> Path:
    """A hub's folder with a network of zeros under torchvision's names, in safetensors."""
    naming: Naming = TORCHVISION
    plan = plan_network(as_spec(spec))
    header: dict[str, Any] = {}
    at = 0
    for parameter in plan.parameters:
        shape = naming.source_shape(parameter)
        end = at + 4 * int(np.prod(shape))
        name = naming.translate(parameter.name.removeprefix(f"{plan.name}/"))
        assert name is not None
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(at))
    (folder / "config.json").write_text(json.dumps(config))
    return folder
