"""Prints the oldest versions that pyproject.toml allows, as pip constraints."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
# Linters and type checkers judge the code by their newest rules; only what runs the code has an oldest version.
tools = {"mypy", "ruff"}
for requirement in (*project["dependencies"], *project["optional-dependencies"]["test"]):
    name, version = re.match(r"([\w.-]+)>=([\w.]+)", requirement).groups()
    if name not in tools:
        print(f"{name}=={version}{requirement[requirement.index(';') :] if ';' in requirement else ''}")
