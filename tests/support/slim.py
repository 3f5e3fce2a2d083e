"""Golden data of TF-slim: networks as specs, variables as parameters, end points as NCHW arrays."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resnet_compile import NetworkSpec, parse_spec

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@dataclass(frozen=True)
class SlimCase:
    """One run of the original."""

    label: str
    description: dict[str, Any]
    arrays: Any

    @property
    def spec(self) -> NetworkSpec:
        """The network as a spec; our logits keep their 1x1 axes, as tf_slim 1.1.0's do."""
        case = self.description
        root_depth = self.arrays[f"var/{case['scope']}/conv1/weights"].shape[-1] if case["include_root_block"] else None
        document = {
            "name": case["scope"],
            "input": {key: case[key] for key in ("height", "width", "channels")},
            "root": {"kind": ROOTS[case["version"]], "depth": root_depth} if root_depth else None,
            "blocks": [
                {
                    "scope": block["scope"],
                    "unit": {"kind": f"bottleneck_{case['version']}"},
                    "args": [
                        {"depth": depth, "depth_bottleneck": bottleneck, "stride": stride}
                        for depth, bottleneck, stride in block["args"]
                    ],
                }
                for block in case["blocks"]
            ],
            "output_stride": case["output_stride"],
            "head": {
                "num_classes": case["num_classes"],
                "global_pool": case["global_pool"],
                "spatial_squeeze": False,
            },
        }
        return parse_spec(json.dumps(document))

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The variables of this network, convolution weights as OIHW."""
        variables = {key.removeprefix("var/"): self.arrays[key] for key in self.arrays.files if key.startswith("var/")}
        scope = f"{self.description['scope']}/"
        return {
            name: value.transpose(3, 2, 0, 1) if name.endswith("/weights") else value
            for name, value in variables.items()
            if name.startswith(scope) and self._has(name.removeprefix(scope).split("/")[0])
        }

    def _has(self, part: str) -> bool:
        case = self.description
        return not (part == "logits" and case["num_classes"] is None) and not (
            part == "conv1" and not case["include_root_block"]
        )

    @property
    def x(self) -> np.ndarray:
        """The image, NHWC."""
        return self.arrays[self.description["x"]]

    @property
    def end_points(self) -> dict[str, np.ndarray]:
        """What the original computed, NHWC, by end point; a headless network's result is under `net`."""
        values = {name: self.arrays[key] for name, key in self.description["end"].items()}
        if self.description["num_classes"] is None:
            values["net"] = self.arrays[self.description["net"]]
        return values


ROOTS = {"v1": "imagenet_v1", "v2": "imagenet"}


def slim_cases(version: str) -> list[SlimCase]:
    """Every golden run of one version of the network."""
    cases = []
    for path in sorted(GOLDEN.glob(f"slim_{version}_*.npz")):
        arrays = np.load(path)
        for index, text in enumerate(arrays["case"]):
            cases.append(SlimCase(f"{path.stem}-{index}", json.loads(str(text)), arrays))
    return cases
