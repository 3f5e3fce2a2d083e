"""The attributes of an HDF5 object that are strings or lists of strings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from resnet_compile.checkpoints.checked_file import CheckedFile
from resnet_compile.checkpoints.hdf5.file import ATTRIBUTE, Cursor, Hdf5File
from resnet_compile.checkpoints.hdf5.types import shape_of

_STRING, _VARIABLE = 3, 9


@dataclass(frozen=True, slots=True)
class StringAttribute:
    """An attribute whose items are strings, or references to strings in the heap."""

    items: tuple[bytes, ...]
    in_heap: bool
    is_list: bool = True


def attributes(hdf5: Hdf5File, address: int) -> dict[str, StringAttribute | None]:
    """The attributes of the object at `address` by name; None for a value that is not a string."""
    return dict(_attribute(hdf5.file, body) for kind, body in hdf5.messages(address) if kind == ATTRIBUTE)


def strings(hdf5: Hdf5File, attribute: StringAttribute) -> Iterator[str]:
    for raw in attribute.items:
        if attribute.in_heap:  # length, address of the collection, number of the object in it
            length, collection, number = (int.from_bytes(raw[a:b], "little") for a, b in ((0, 4), (4, 12), (12, 16)))
            start, size = hdf5.heap_object(collection, number)
            hdf5.count(1 + length // 64)  # every item could refer to the same long string
            raw = hdf5.file.copy(start, min(length, size), "a string")
        try:
            yield raw.partition(b"\0")[0].decode("utf-8")
        except UnicodeDecodeError as error:
            raise hdf5.file.error("a name in the file is not UTF-8") from error


def text_attribute(hdf5: Hdf5File, address: int, key: str) -> str | None:
    """A string attribute of the object at `address`; None without such an attribute."""
    attribute = attributes(hdf5, address).get(key)
    return None if attribute is None or attribute.is_list else next(strings(hdf5, attribute))


def _attribute(file: CheckedFile, message: bytes) -> tuple[str, StringAttribute | None]:
    attribute = Cursor(file, message, "an attribute")
    version, flags = attribute.uint(1), attribute.uint(1)
    sizes = attribute.uint(2), attribute.uint(2), attribute.uint(2)
    if version not in (1, 2, 3) or (version > 1 and flags):
        raise file.error("an attribute has an unsupported layout")
    if version == 3:
        attribute.take(1)  # the name's character set
    step = 8 if version == 1 else 1
    name, datatype, dataspace = (attribute.take(-(-size // step) * step)[:size] for size in sizes)
    shape = shape_of(file, dataspace)
    kind = Cursor(file, datatype, "a datatype")
    type_class, variant, size = kind.uint(1) & 15, kind.uint(3) & 15, kind.uint(4)
    in_heap = type_class == _VARIABLE and variant == 1 and size == 16
    is_string = in_heap or (type_class == _STRING and size > 0)
    text = name.rstrip(b"\0").decode("utf-8", "backslashreplace")
    if shape is not None and 0 in shape:
        return text, StringAttribute((), in_heap)  # Keras writes an empty list as one of floats
    if not is_string or shape is None or len(shape) > 1:
        return text, None
    items = tuple(attribute.take(size) for _ in range(shape[0] if shape else 1))
    return text, StringAttribute(items, in_heap, is_list=bool(shape))
