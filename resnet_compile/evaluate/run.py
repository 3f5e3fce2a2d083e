"""A model judged on labelled images."""

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
    """A model's answers to labelled images.

    Attributes:
        judged: What is kept of each image that was read.
        positions: Where each of them stands in the data.
        classes: How many the model has.
        skipped: The images that could not be read, by position.
        note: What a user should know of how classes were matched.
        interrupted: Whether an interrupt came before the end.
    """

    judged: Judged
    positions: tuple[int, ...]
    classes: int
    skipped: dict[int, ImageError]
    note: str | None
    interrupted: bool

    def at(self, positions: frozenset[int]) -> Judged:
        """What is kept of some of the images, in order."""
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
    """Runs labelled images through a model; an interrupt ends that and keeps what was done.

    Args:
        session: The model.
        data: The images.
        scheme: How they are prepared; unused where the model does that.
        labels: The names of the model's classes.
        softmax: As of `classify.probabilities`.
        batch: Images at a time; as of `classify.run_images`.
        reached: Called with how many images were done.

    Raises:
        DataError: The data has classes that the model has not, or none of its images can be read.
        OptionError: The model tells no classes, or has another batch size.
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
