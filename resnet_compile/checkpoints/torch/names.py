"""The known names in the pickle of a PyTorch file, each with our own description or code for it.

Every other name stays a name. Sources: PyTorch's `torch/_utils.py` and `torch/_tensor.py` (the `_rebuild_...` functions
and their arguments), `torch/storage.py` and `torch/serialization.py`; numpy's `_core/src/multiarray/methods.c`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet_compile.checkpoints.base import QUANTISED, Unread, dtype_of
from resnet_compile.checkpoints.checked_file import printable
from resnet_compile.checkpoints.torch.values import (
    SCALAR_TYPES,
    Array,
    ArrayType,
    Name,
    PickleError,
    Record,
    Storage,
    StorageType,
    TensorView,
    naturals,
    text,
)

_MAX_NAME = 1024  # of a class or a storage


@dataclass(frozen=True, slots=True)
class Constructor:
    """A known callable; `build` is our own code for it."""

    build: Callable[[tuple[Any, ...]], object]


def _tensor(args: tuple[Any, ...], dtype: object, metadata: object) -> TensorView | Unread:
    storage, offset, shape, strides = args
    if not isinstance(storage, Storage):
        raise PickleError("a tensor without a storage")
    dtype = storage.kind.dtype if dtype is None else dtype
    if isinstance(dtype, Name):
        return Unread(f"of type {printable(dtype.name)}", naturals(shape), "save tensor.float()")
    if not isinstance(dtype, np.dtype):
        raise PickleError("a tensor without a dtype")
    if metadata:  # its only known content: the view is conjugated or negated
        advice = "save tensor.resolve_conj().resolve_neg()"
        return Unread(f"conjugated or negated {dtype.name}", naturals(shape), advice)
    (start,) = naturals((offset,))
    return TensorView(storage, dtype, storage.start + start, naturals(shape), naturals(strides))


def _rebuild_tensor(args: tuple[Any, ...]) -> TensorView | Unread:
    if len(args) != 4:
        raise PickleError("_rebuild_tensor takes 4 arguments")
    return _tensor(args, None, None)


def _rebuild_tensor_v2(args: tuple[Any, ...]) -> TensorView | Unread:
    if len(args) not in (6, 7):  # storage, offset, shape, strides, requires_grad, hooks, metadata
        raise PickleError("_rebuild_tensor_v2 takes 6 or 7 arguments")
    return _tensor(args[:4], None, args[6] if len(args) == 7 else None)


def _rebuild_tensor_v3(args: tuple[Any, ...]) -> TensorView | Unread:
    if len(args) not in (7, 8) or args[6] is None:  # as v2, with the dtype before the metadata
        raise PickleError("_rebuild_tensor_v3 takes 7 or 8 arguments, the seventh a dtype")
    return _tensor(args[:4], args[6], args[7] if len(args) == 8 else None)


def _wrapped(args: tuple[Any, ...]) -> object:
    """The first argument, a tensor, without its wrapper: attributes, a device, a type of TorchScript."""
    if not args:
        raise PickleError("a parameter does not wrap a tensor")
    return args[0]


def _rebuild_from_type(args: tuple[Any, ...]) -> object:
    """A tensor of another class or with attributes; the arguments are function, class, arguments, attributes."""
    match args:
        case (Constructor(build=build), _, tuple() as inner, _) if build in _TENSORS:
            return build(inner)
        case _:
            return Record(Name("torch._tensor", "_rebuild_from_type_v2"), args)


def _quantised(args: tuple[Any, ...]) -> Unread:
    if len(args) != 7 or not isinstance(args[0], Storage):
        raise PickleError("_rebuild_qtensor takes a storage and 6 other arguments")
    return Unread(QUANTISED, naturals(args[2]), "save the weights before quantisation, or tensor.dequantize()")


def _sparse(args: tuple[Any, ...]) -> Unread:
    """A sparse tensor; the arguments are the layout and a tuple with the size, third for coordinates, else fourth."""
    data = args[1] if len(args) == 2 and isinstance(args[1], tuple) else ()
    sizes = [each for each in data[2:4] if isinstance(each, tuple)]
    return Unread("sparse", naturals(sizes[0]) if sizes else (), "save tensor.to_dense()")


def _meta(args: tuple[Any, ...]) -> Unread:
    if len(args) != 4:
        raise PickleError("_rebuild_meta_tensor_no_storage takes 4 arguments")
    return Unread("without values", naturals(args[1]), "it was on the device meta: load the weights, then save")


def _ordered_dict(args: tuple[Any, ...]) -> object:
    """An empty mapping; for a pickle of Python 2, a record of the pairs in it."""
    return Record(Name("collections", "OrderedDict"), args) if args else {}


def _size(args: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(args) != 1 or not isinstance(args[0], tuple):
        raise PickleError("a torch.Size is not a tuple")
    return args[0]


def _array(args: tuple[Any, ...]) -> Array:
    """An array whose state follows; the arguments, class, shape and code, are placeholders."""
    return Array()


def _array_of_buffer(args: tuple[Any, ...]) -> Array:
    match args:
        case (raw, ArrayType() as kind, tuple() as shape, order):
            return Array(naturals(shape), kind.dtype, "F" if order == "F" else "C", raw)
        case _:
            raise PickleError("a numpy array is not described as numpy describes one")


def _array_type(args: tuple[Any, ...]) -> object:
    if args and isinstance(args[0], str | memoryview):
        return ArrayType(text(args[0]))
    return Record(Name("numpy", "dtype"), args)


_TENSORS = (_rebuild_tensor, _rebuild_tensor_v2, _rebuild_tensor_v3)
_STORAGES = {  # the dtype of each storage class
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
_QUANTISED = {"QInt8Storage": 1, "QUInt8Storage": 1, "QInt32Storage": 4, "QUInt4x2Storage": 1, "QUInt2x4Storage": 1}
_GLOBALS: Mapping[tuple[str, str], object] = {
    ("collections", "OrderedDict"): Constructor(_ordered_dict),
    ("numpy", "dtype"): Constructor(_array_type),
    **{(f"numpy.{core}.multiarray", "_reconstruct"): Constructor(_array) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): Constructor(_array_of_buffer) for core in ("core", "_core")},
    ("torch", "Size"): Constructor(_size),
    ("torch._utils", "_rebuild_tensor"): Constructor(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Constructor(_rebuild_tensor_v2),
    ("torch._utils", "_rebuild_tensor_v3"): Constructor(_rebuild_tensor_v3),
    ("torch._utils", "_rebuild_qtensor"): Constructor(_quantised),
    ("torch._utils", "_rebuild_sparse_tensor"): Constructor(_sparse),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): Constructor(_meta),
    ("torch._utils", "_rebuild_parameter"): Constructor(_wrapped),
    ("torch._utils", "_rebuild_parameter_with_state"): Constructor(_wrapped),
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): Constructor(_wrapped),
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): Constructor(_wrapped),
    ("torch._utils", "_rebuild_xla_tensor"): Constructor(_wrapped),
    ("torch.jit._pickle", "restore_type_tag"): Constructor(_wrapped),
    ("torch.nn.parameter", "Parameter"): Constructor(_wrapped),
    ("torch._tensor", "_rebuild_from_type"): Constructor(_rebuild_from_type),
    ("torch._tensor", "_rebuild_from_type_v2"): Constructor(_rebuild_from_type),
    ("torch.storage", "UntypedStorage"): StorageType(None),
    **{("torch", name): StorageType(dtype_of(dtype), dtype_of(dtype).itemsize) for name, dtype in _STORAGES.items()},
    **{("torch", name): StorageType(None, itemsize) for name, itemsize in _QUANTISED.items()},
    **{("torch", dtype.name): dtype for dtype in SCALAR_TYPES.values()},
}


def named(module: object, name: object) -> object:
    """The value of a known name, or else a `Name`. Names are looked up whole; no attribute is followed."""
    if not isinstance(module, str) or not isinstance(name, str):
        raise PickleError("a name in the pickle is not two strings")
    if len(module) + len(name) > _MAX_NAME:
        raise PickleError("a name in the pickle is too long")
    return _GLOBALS.get((module, name)) or Name(module, name)


def construct(function: object, arguments: object, keywords: object = None) -> object:
    """The result of calling a known function; for an unknown one, a record of the call."""
    if not isinstance(arguments, tuple):
        raise PickleError("the pickle calls a function without a tuple of arguments")
    match function:
        case Constructor(build=build) if not keywords:
            return build(arguments)
        case Name() | Record():
            return Record(function, arguments, [keywords] if keywords else [])
        case _:
            raise PickleError("the pickle calls a value that is not a function")


def stored(identity: object, folder: str) -> Storage | Name:
    """The storage of a persistent id, ("storage", storage class, key, device, number of elements).

    Older files add a view, (key, first element, number of elements), and have ids of the form ("module", class, source
    file, source text), whose value is the class.
    """
    match identity:
        case (kind, Name() as name, _, _) if text(kind) == "module":
            return name
        case (kind, StorageType() as elements, key, _, int() as count, *view) if text(kind) == "storage":
            key, start = text(key), 0
            match view:
                case [(_, int() as start, int())] if start >= 0:
                    pass
                case [] | [None]:
                    pass
                case _:
                    raise PickleError("a view of a storage is not described as PyTorch describes one")
            if len(key) <= _MAX_NAME:
                return Storage(folder + key, elements, count, start)
        case _:
            pass
    raise PickleError("a storage is not described as PyTorch describes one")


def enter(mapping: dict[Any, Any], key: object, value: object) -> None:
    """Sets an entry of a mapping. A key that is neither a string nor a number becomes its position, such as `#3`."""
    if isinstance(key, memoryview):
        key = text(key)
    elif isinstance(key, int) and not -(1 << 60) < key < 1 << 60:  # larger ones can be made to collide
        key = str(key)
    elif key is not None and not isinstance(key, str | int | float):
        key = f"#{len(mapping)}"
    if key in mapping:
        raise PickleError("a mapping has a key twice")
    mapping[key] = value


# Names that hostile pickles call, from the lists of picklescan and fickling.
_MODULES = """
    asyncio bdb cProfile code codeop commands concurrent ctypes distutils doctest ftplib http httplib idlelib imp
    importlib marshal multiprocessing nt os pdb pexpect pip pkgutil platform posix profile pty pydoc requests runpy
    setuptools shutil signal smtplib socket socketserver ssl subprocess sys tempfile threading _thread timeit trace
    urllib urllib2 venv webbrowser winreg zipimport
"""
_FUNCTIONS = """
    builtins.eval builtins.exec builtins.compile builtins.open builtins.__import__ builtins.breakpoint builtins.input
    __builtin__.eval __builtin__.execfile __builtin__.compile __builtin__.open __builtin__.file __builtin__.__import__
    __builtin__.apply types.CodeType types.FunctionType operator.methodcaller _operator.methodcaller
    pickle.load pickle.loads _pickle.load _pickle.loads dill.load dill.loads dill._dill._create_function
    cloudpickle.load cloudpickle.loads cloudpickle.cloudpickle._make_function joblib.load numpy.load pandas.read_pickle
    numpy.testing._private.utils.runstring torch.load torch.serialization.load torch.jit.load torch.hub.load
"""
_RUNNING = frozenset(f"{_MODULES}{_FUNCTIONS}".split())


def runs_code(name: Name) -> bool:
    """Whether unpickling a file with this name can run any code of the file's writer."""
    return name.module.partition(".")[0] in _RUNNING or str(name) in _RUNNING
