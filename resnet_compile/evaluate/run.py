"""Runs a model on labelled images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from resnet_compile.classify import Skipped, classification_output, probabilities, run_images
from resnet_compile.errors import DataError, ImageError
from resnet_compile.evaluate.labelled import Labelled, model_classes
from resnet_compile.images import Preprocessing
from resnet_compile.metrics import Judged
from resnet_compile.runtime import Session


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A model's results on labelled images.

    Attributes:
        judged: The result for each image that was read.
        positions: The position of each of these images in the data.
        classes: The model's number of classes.
        skipped: The errors of images that could not be read, by position.
        note: A note for the user on how classes were matched; None for nothing to note.
        interrupted: Whether an interrupt came before the end.
    """

    judged: Judged
    positions: tuple[int, ...]
    classes: int
    skipped: dict[int, ImageError]
    note: str | None
    interrupted: bool

    def at(self, positions: frozenset[int]) -> Judged:
        """The results for the images at these positions, in order."""
        chosen = np.array([position in positions for position in self.positions], np.bool_)
        fields = ("labels", "predicted", "among_top", "losses", "confidences")
        return Judged(*(getattr(self.judged, name)[chosen] for name in fields))


def evaluate(
    session: Session,
    data: Labelled,
    scheme: Preprocessing,
    *,
    labels: tuple[str, ...] | None = None,
    softmax: bool = False,
    batch: int | None = None,
    reached: Callable[[int], None] = lambda done: None,
) -> Evaluated:
    """Runs labelled images through a model. An interrupt ends the run and keeps the results so far.

    Args:
        session: The model.
        data: The images.
        scheme: The preprocessing scheme; unused if the model preprocesses by itself.
        labels: The names of the model's classes.
        softmax: As for `classify.probabilities`.
        batch: Images at a time, as for `classify.run_images`.
        reached: Called with the number of images done.

    Raises:
        DataError: The data has classes that the model does not have, or none of its images can be read.
        OptionError: The model has no classification output, or has another batch size.
    """
    output = classification_output(session)
    parts: list[Judged] = []
    positions: list[int] = []
    skipped: dict[int, ImageError] = {}
    truth, note, classes, interrupted = data.labels, None, 0, False
    try:
        for event in run_images(session, data, scheme, outputs=[output], batch=batch):
            if isinstance(event, Skipped):
                skipped[event.position] = event.error
            else:
                rows = probabilities(output, event.outputs[output], softmax=softmax)
                if not classes:
                    classes = rows.shape[1]
                    truth, note = model_classes(data, labels, classes)
                parts.append(Judged.of(rows, truth[list(event.positions)]))
                positions.extend(event.positions)
            reached(len(positions) + len(skipped))
    except KeyboardInterrupt:
        if not parts:
            raise
        interrupted = True
    if not parts:
        first = next(iter(skipped.values()))
        raise DataError(f"none of {len(skipped)} images could be read, the first: {first.message}", where=first.where)
    return Evaluated(Judged.joined(parts), tuple(positions), classes, skipped, note, interrupted)
