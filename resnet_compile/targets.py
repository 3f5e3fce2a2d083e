"""The words for where a model is to run: the values of `target`."""

from typing import Literal

Target = Literal["portable", "cpu", "cuda"]
