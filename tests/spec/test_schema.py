"""The JSON Schema: kept fresh, and of one mind with the models."""

import copy
import json

import jsonschema
import pytest
from support.specs import tiny_document

from resnet_compile.spec import catalogue, network_schema, network_schema_text
from resnet_compile.spec.catalogue import catalogue_folder


def test_the_kept_schema_is_the_generated_one() -> None:
    kept = (catalogue_folder() / "network.schema.json").read_text()
    assert kept == network_schema_text(), "run: python tools/write_schema.py"


@pytest.mark.parametrize("name", catalogue())
def test_the_schema_accepts_the_catalogue(name: str) -> None:
    document = json.loads((catalogue_folder() / f"{name}.json").read_bytes())
    jsonschema.Draft202012Validator(network_schema()).validate(document)


def test_the_schema_refuses_what_the_models_refuse() -> None:
    validator = jsonschema.Draft202012Validator(network_schema())
    assert validator.is_valid(tiny_document())
    for path, value in ((("input", "height"), 0), (("output_stride",), "8"), (("blocks",), []), (("nmae",), 1)):
        document = copy.deepcopy(tiny_document())
        target = document
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value
        assert not validator.is_valid(document), path
