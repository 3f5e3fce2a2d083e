"""Names of the variables of object-based checkpoints (``tf.train.Checkpoint``, Keras, SavedModel).

Their keys are paths through Python objects: ``layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE``. A record holds
the ``TrackableObjectGraph`` { nodes = 1 { attributes = 2 { name = 1, full_name = 2, checkpoint_key = 3 } } }
(``trackable_object_graph.proto``), in which ``full_name`` is the variable's own: ``conv1_conv/kernel``.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping
from itertools import takewhile

from resnet_compile.checkpoints.tensorflow.types import read_text
from resnet_compile.wire import Buffer, Fail, Message

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""The key of the record that holds the graph."""

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_SLOT = "/.OPTIMIZER_SLOT/"
# The slots of Keras's optimizers since 2.11, which are not beside their parameters.
_OPTIMIZER_VARIABLE = re.compile(r"(?:.*/)?_variables/\d+" + re.escape(_VALUE), re.DOTALL)
_BOOKKEEPING = re.compile(r"(?:.*/)?keras_api/", re.DOTALL)  # metrics, in a SavedModel


def object_names(
    graph: Buffer, contents: Mapping[str, Hashable], scalars: frozenset[str], fail: Fail
) -> dict[str, str]:
    """A name for each key of a checkpoint: the variable's own if it has one, else the key.

    * Variables of one name get the part of the path that distinguishes them as a prefix
      (``teacher/conv1_conv/kernel``), and so do all variables in that part.
    * Further copies of a variable that is saved several times are below its name.
    * Slots are below the name of their parameter.
    * Scalars and Keras's bookkeeping keep their keys: a name such as ``count`` does not identify them.

    Args:
        graph: The record.
        contents: A value for each key, equal for equal tensors.
        scalars: The keys of scalars.
        fail: Makes errors.
    """
    full: dict[str, str] = {}
    for node in Message(graph, fail).messages(1):
        for attribute in node.messages(2):
            if (key := attribute.text(3)) in contents and key.endswith(_VALUE) and attribute.bytes(2):
                full[key] = read_text(attribute.bytes(2), fail)
    own = {
        key: name
        for key, name in full.items()
        if key not in scalars and _SLOT not in key and not _BOOKKEEPING.match(key)
    }
    slots = {key: own.pop(key) for key in [*own] if _OPTIMIZER_VARIABLE.fullmatch(key)}
    names = _told_apart(own, contents)
    names |= _slots(slots, set(names.values()))
    for key in contents:
        parameter, mark, slot = key.partition(_SLOT)
        if mark and parameter + _VALUE in names:
            names[key] = names[parameter + _VALUE] + mark + slot.removesuffix(_VALUE)
    counts = Counter(names.get(key, key) for key in contents)
    return {key: name if counts[name := names.get(key, key)] == 1 else key for key in contents}


def _told_apart(full: Mapping[str, str], contents: Mapping[str, Hashable]) -> dict[str, str]:
    """The names, unique unless nothing in the paths distinguishes two variables."""
    keys: dict[str, list[str]] = defaultdict(list)
    for key, name in full.items():
        keys[name].append(key)
    shared = [same for same in keys.values() if len(same) > 1]
    if all(len({contents[key] for key in same}) == 1 for same in shared):
        return {key: name if keys[name][0] == key else f"{name}/{key}" for key, name in full.items()}
    prefixes = {prefix for same in shared for prefix in _prefixes(same)}
    names = {}
    for key, name in full.items():
        inside = [key[:at] for at, char in enumerate(key) if char == "/" and key[:at] in prefixes]
        names[key] = f"{inside[-1]}/{name}" if inside else name
    return names


def _prefixes(keys: list[str]) -> set[str]:
    """The start of each path up to its first component that differs, unless that is the variable itself."""
    paths = [key.removesuffix(_VALUE).split("/") for key in keys]
    shared = (len(set(parts)) == 1 for parts in zip(*paths, strict=False))
    depth = len([*takewhile(bool, shared)]) + 1
    return {"/".join(path[:depth]) for path in paths if len(path) > depth}


def _slots(variables: Mapping[str, str], parameters: set[str]) -> dict[str, str]:
    """Names of an optimizer's variables, below the parameters that they are named after.

    Keras 2 calls them ``Adam/m/conv1_conv/kernel``, Keras 3 ``adam/conv1_conv_kernel_momentum``.
    """
    joined = {name.replace("/", "_"): name for name in parameters}
    names = {}
    for key, name in variables.items():
        ends = (name[at + 1 :] for at, char in enumerate(name) if char == "/")
        starts = (name[:at][name.find("/") + 1 :] for at, char in enumerate(name) if char == "_")
        owner = next((end for end in ends if end in parameters), None) or next(
            (joined[start] for start in starts if start in joined), None
        )
        names[key] = f"{owner}{_SLOT}{name}" if owner else name
    return names
