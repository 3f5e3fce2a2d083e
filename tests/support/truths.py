"""The comparison of a checkpoint with what its own system read of it."""

import hashlib
from collections.abc import Mapping
from typing import Any

from resnet_compile.checkpoints.base import Checkpoint


def assert_equals(checkpoint: Checkpoint, truths: Mapping[str, Any]) -> None:
    """Every tensor of the truths is in the checkpoint to the bit, and is what `info` says it is."""
    for name, truth in truths.items():
        array, info = checkpoint[name], checkpoint.info(name)
        assert (info.dtype, list(info.shape), array.shape) == (truth["dtype"], truth["shape"], info.shape), name
        if truth["dtype"] == "string":
            assert [value.hex() for value in array.ravel().tolist()] == truth["strings"], name
        else:
            assert (array.dtype.name, array.nbytes) == (info.dtype, info.nbytes), name
            assert hashlib.sha256(array.tobytes()).hexdigest() == truth["sha256"], name
