"""Reading a spec from JSON."""

from __future__ import annotations

import os
from typing import Any

from resnet_compile.checked import parse_json, read_json
from resnet_compile.files import as_path
from resnet_compile.spec.network import NetworkSpec


def parse_spec(text: str | bytes) -> NetworkSpec:
    """The network in a JSON text.

    Args:
        text: JSON; bytes are UTF-8.

    Raises:
        SpecError: The text is not JSON, or not a spec; `where` is the path of the first fault.
    """
    spec: NetworkSpec = parse_json(NetworkSpec, text)
    return spec


def build_spec(document: dict[str, Any]) -> NetworkSpec:
    """The network in a parsed JSON document; raises as `parse_spec`."""
    return NetworkSpec.model_validate(document)


def read_spec(path: str | os.PathLike[str]) -> NetworkSpec:
    """The network in a JSON file.

    Raises:
        SpecError: The file cannot be read, or is not a spec; `where` begins with the file's name.
    """
    spec: NetworkSpec = read_json(NetworkSpec, as_path(path), "spec")
    return spec.coming_from(os.fspath(path))
