"""The schema of what the commands print with --json; `support.commands` holds every document of every test to it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.commands import command, schema_of

from resnet_compile.cli.common import SCHEMA_VERSION, Report
from resnet_compile.cli.documents import DOCUMENTS


def objects(schema: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if "properties" in schema:
            yield place, schema
        for name, each in schema.items():
            yield from objects(each, f"{place}/{name}")
    if isinstance(schema, list):
        for each in schema:
            yield from objects(each, place)


def test_every_field_says_what_it_is_and_numbers_in_what() -> None:
    for command_name in DOCUMENTS:
        jsonschema.Draft202012Validator.check_schema(schema_of(command_name))
        for place, each in objects(schema_of(command_name), command_name):
            assert each["additionalProperties"] is False, place
            for name, field in each["properties"].items():
                assert field.get("description"), f"{place}: {name}"


def test_every_command_has_its_documents_with_the_version() -> None:
    scripts = (Path(__file__).parents[2] / "pyproject.toml").read_text().split("[project.scripts]")[1].split("\n\n")[0]
    assert {line.split(" = ")[0] for line in scripts.strip().splitlines()} == DOCUMENTS.keys()
    for name in DOCUMENTS:
        schema = schema_of(name)
        whole = schema.get("anyOf", [schema])
        for each in (
            schema["$defs"][part["$ref"].removeprefix("#/$defs/")] if "$ref" in part else part for part in whole
        ):
            assert each["properties"]["schema_version"]["const"] == SCHEMA_VERSION, name
            assert "schema_version" in each["required"]


@pytest.mark.parametrize("name", ["resnet-doctor", "resnet-bench"])
def test_a_command_prints_its_schema(name: str) -> None:
    assert json.loads(command(name, "--json-schema").out) == schema_of(name)


def test_what_is_none_of_the_documents_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(command("resnet-inspect", "tiny", "--json").out)
    for wrong in ({"macs": "many"}, {"unheard": 1}, {"schema_version": SCHEMA_VERSION + 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**document, **wrong}, schema_of("resnet-inspect"))


def test_numbers_that_json_has_no_words_for_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    Report(as_json=True, verbose=False).result({"loss": float("nan"), "all": [float("inf"), (1.0,)]}, str)
    expected = {"schema_version": SCHEMA_VERSION, "loss": None, "all": [None, [1.0]]}
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == expected
