"""Writes specs/network.schema.json, the JSON Schema of the spec language, from the models.

python tools/write_schema.py
"""

from pathlib import Path

from resnet_compile.spec import network_schema_text

if __name__ == "__main__":
    path = Path(__file__).resolve().parents[1] / "specs" / "network.schema.json"
    path.write_text(network_schema_text())
