"""Counts the parameters, moving statistics and multiply-accumulates of networks of PyTorch, for `tests/test_specs.py`.

    python tools/count_torch.py [NAME...]

A hook counts the products of every convolution, one- or two-dimensional, and of every dense layer while the original
runs on an image without numbers (PyTorch's `meta` device). Needs torch, timm and transformers; nothing of ours.
"""

import argparse
from typing import Any

import torch
from torch import nn
from torch_originals import ORIGINALS

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)


def counts(name: str) -> tuple[int, int, int]:
    """Parameters, moving statistics, multiply-accumulates."""
    original = ORIGINALS[name]
    with torch.device("meta"):
        model = original.make().eval()
    products = 0

    def count(layer: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        nonlocal products
        products += output.numel() * layer.weight[0].numel()

    for layer in model.modules():
        if isinstance(layer, LAYERS):
            layer.register_forward_hook(count)
    model(torch.empty(1, 3, original.side, original.side, device="meta"))
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    return sum(p.numel() for p in model.parameters()), sum(2 * norm.num_features for norm in norms), products


def main() -> None:
    """Prints a row a network, as the test has it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="names of the catalogue; by default all")
    for name in parser.parse_args().names or ORIGINALS:
        print(f'    "{name}": ({", ".join(f"{number:_}" for number in counts(name))}),', flush=True)


if __name__ == "__main__":
    main()
