"""The sample images of a scenario, in host memory, and runs of a model on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.bench.inputs import DEFAULT_SIZE, random_images
from resnet_compile.bench.mlperf import LOADED_SAMPLES, SAMPLE_SEED
from resnet_compile.bench.run import Subject
from resnet_compile.errors import OptionError
from resnet_compile.runtime import Backend, Session, SessionOptions, image_input

_LOADED_BYTES = 2**30
"""The most bytes that the samples may take. Of large images, fewer fit than the rules ask for."""
_DRAWS = 1 << 16


class Samples:
    """An open model and its samples.

    Attributes:
        session: The model.
        fixed_batch: The model's own batch size; None if it leaves that open.
        batch: Images at a time.
        shape: The input's shape at that batch size.
        loaded: The number of samples in memory.
    """

    def __init__(
        self,
        subject: Subject,
        device: str,
        settings: SessionOptions,
        backend: Backend,
        batch: int | None,
        default_batch: int,
    ) -> None:
        self.session = Session.open(subject.model, device, settings, backend=backend)
        if settings.cuda_graph and not self.session.device.provider.records:
            raise OptionError("a CUDA graph needs a CUDA device", hint="--device cuda")
        source = image_input(self.session)
        self.fixed_batch = source.batch
        self.batch = source.batch_size(batch, default_batch)
        self.shape = source.shape(self.batch, subject.size or DEFAULT_SIZE)
        fitting = _LOADED_BYTES // (4 * int(np.prod(self.shape[1:])))
        self.loaded = max(self.batch, min(LOADED_SAMPLES, fitting))
        (images,) = random_images(source, (self.loaded, *self.shape[1:]), 1, SAMPLE_SEED)
        ((self._name, self._images),) = images.items()
        self._draws = np.random.default_rng(SAMPLE_SEED).integers(0, self.loaded, _DRAWS)

    def runner(self, batch: int, *, burn_in: int, step: int = 1) -> Callable[[int], None]:
        """Returns a function that runs the model on `batch` consecutive samples, given the number of the first.

        That number must be a multiple of `step`. On a GPU a run includes the copies of the samples and of the answers.
        The burn-in is done when this returns.
        """
        starts = range(0, self.loaded, step)
        if (needed := starts[-1] + batch) > len(self._images):  # repeat the first images after the last
            self._images = np.resize(self._images, (needed, *self._images.shape[1:]))
        feeds: list[dict[str, NDArray[Any]]] = [{self._name: self._images[start : start + batch]} for start in starts]
        outputs = self.session.first_run(feeds[0])
        binding = self.session.bind(feeds, outputs, transfer=not self.session.device.on_host)
        for number in range(burn_in):
            binding.run(number)
        return lambda start: binding.run(start // step)

    def drawn(self, number: int) -> int:
        """The first sample of the query with this number."""
        return int(self._draws[number % _DRAWS])
