"""The tensors in the value of a pickle, by their paths.

A path consists of keys, positions and attributes, joined by ``/``; the name in a state dict is its last component.
Below a module the names are those of its `state_dict`, joined by dots. The plain parts of the value come first, in
order, and the attributes of objects after them. Of several paths to one mapping, list or object the plainest counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from resnet_compile.checkpoints.base import Unread
from resnet_compile.checkpoints.torch.values import Array, PickleError, Record, TensorView, place, text

MAX_TENSORS = 100_000
MAX_STEPS = 3_000_000  # a value that refers to each part once has fewer parts than its pickle has opcodes
MAX_DEPTH = 100
MAX_CHARACTERS = 32 << 20  # of all names

Tensor = TensorView | Array | Unread
_HOLDERS = (dict, list, tuple, Record)


@dataclass(frozen=True, slots=True)
class _Path:
    """A path: the path `above`, and one part more. In a `tree` of modules a module can have several names."""

    above: _Path | None
    part: str
    depth: int
    tree: bool

    def to(self, separator: str, key: object, *, tree: bool = False) -> _Path:
        part = key if isinstance(key, str) else str(key)
        return _Path(self, part if self.above is None else separator + part, self.depth + 1, tree)

    def parts(self) -> list[str]:
        """The parts, the last one first."""
        if self.depth > MAX_DEPTH:
            raise PickleError(f"a tensor is more than {MAX_DEPTH} levels deep")
        path: _Path | None = self
        parts = []
        while path is not None:
            parts.append(path.part)
            path = path.above
        return parts


_Part = tuple[str, Any, Any, bool]  # separator, key, value, whether in a tree of modules
_Child = tuple[_Path, Any]


def tensors_in(value: object) -> dict[str, Tensor]:
    """The tensors and arrays in the value of a pickle, by path; a tensor that is the whole value is `tensor`.

    Raises:
        PickleError: There are too many tensors, or the value refers to its parts too often.
    """
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    steps = characters = 0
    stack: list[_Child] = [(_Path(None, "", 0, False), value)]
    later: deque[_Child] = deque()
    while stack or later:
        path, item = stack.pop() if stack else later.popleft()
        if _is_tensor(item):
            parts = path.parts()
            characters += sum(map(len, parts))
            if len(found) >= MAX_TENSORS or characters > MAX_CHARACTERS:
                raise PickleError(f"the saved value has more than {MAX_TENSORS} tensors, or their names are too long")
            _add(found, "".join(reversed(parts)) or "tensor", item)
        elif id(item) not in seen or (path.tree and path.depth <= MAX_DEPTH):
            seen.add(id(item))
            for parts_of, children in ((_parts(item), stack), (_attributes(item), later)):
                held: list[_Child] = []
                for separator, key, child, tree in parts_of:
                    steps += 1
                    if isinstance(child, _HOLDERS) or _is_tensor(child):
                        held.append((path if key is None else path.to(separator, key, tree=tree), child))
                children.extend(reversed(held) if children is stack else held)
                if steps > MAX_STEPS:
                    raise PickleError("the saved value refers to its parts too often")
    return found


def _is_tensor(value: object) -> bool:
    return isinstance(value, TensorView | Unread) or (isinstance(value, Array) and not value.dtype.hasobject)


def _add(found: dict[str, Tensor], name: str, tensor: Tensor) -> None:
    same = found.setdefault(name, tensor)
    if same is not tensor and (place(same) is None or place(same) != place(tensor)):
        raise PickleError(f"two tensors are called {name[:100]}")


def _parts(value: object) -> Iterator[_Part]:
    match value:
        case dict():
            yield from (("/", key, child, False) for key, child in value.items())
        case list() | tuple():
            yield from (("/", index, child, False) for index, child in enumerate(value))
        case Record(called="collections.OrderedDict", arguments=(list() as pairs,)):
            for pair in pairs:
                if isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str | memoryview):
                    yield "/", text(pair[0]), pair[1], False
        case Record():
            yield from _parts(value.items)
            yield from _parts(value.elements)
            for state in value.states:
                yield from _module(value, state)
        case _:
            pass


def _module(record: Record, state: Any) -> Iterator[_Part]:
    """The parameters, buffers and modules of a module; in TorchScript, all its attributes."""
    match state:
        case {"_parameters": parameters, "_modules": modules}:
            for group in (parameters, state.get("_buffers"), modules):
                items = group.items if isinstance(group, Record) else group
                for key, child in items.items() if isinstance(items, dict) else ():
                    yield ".", key, child, group is modules
        case dict() if record.called.startswith("__torch__."):
            yield from ((".", key, child, isinstance(child, Record)) for key, child in state.items())
        case _:
            pass


def _attributes(value: object) -> Iterator[_Part]:
    """The arguments and attributes of an object. A single argument and nothing else takes the object's own path."""
    if not isinstance(value, Record) or (value.called == "collections.OrderedDict" and value.arguments):
        return
    alone = len(value.arguments) == 1 and not (value.states or value.items or value.elements)
    yield from (("/", None if alone else f"({at})", part, False) for at, part in enumerate(value.arguments))
    for state in value.states:
        match state:
            case {"_parameters": parameters, "_modules": _}:
                for key, child in state.items():
                    # What hooks compute from parameters of that name: weight norm, spectral norm, pruning.
                    is_made = isinstance(parameters, dict) and (f"{key}_g" in parameters or f"{key}_orig" in parameters)
                    if key not in ("_parameters", "_buffers", "_modules") and not is_made:
                        yield ".", key, child, False
            case dict() if value.called.startswith("__torch__."):
                pass
            case (dict() | None, dict()):  # what `__getstate__` gives for a class with `__slots__`
                for part in state:
                    yield from _parts(part)
            case dict():
                yield from _parts(state)
            case _:
                yield "/", None, state, False
