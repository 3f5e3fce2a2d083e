"""How hypothesis runs: at random for people, the same every time where nobody looks into a new example."""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
