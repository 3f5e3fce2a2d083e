"""A model, opened on a device."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from resnet_compile.errors import DeviceError, ModelFileError, OptionError, OutputError, ResnetCompileError
from resnet_compile.files import as_path
from resnet_compile.runtime.backend import Backend, installed_backend
from resnet_compile.runtime.binding import Binding, Places
from resnet_compile.runtime.devices import Device, parse_device
from resnet_compile.runtime.kept import Shelf
from resnet_compile.runtime.log import caught_log
from resnet_compile.runtime.options import LOG_SEVERITY, SessionOptions
from resnet_compile.runtime.provider import CPU
from resnet_compile.runtime.providers import AUTO
from resnet_compile.runtime.recurrence import Recurrence
from resnet_compile.runtime.signature import TensorInfo, by_name, check_inputs, known_outputs, tensors

# onnxruntime's exceptions for a file that is not a model, and for a model that it refuses.
_MODEL_ERRORS = ("InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile", "NotImplemented")
_FAILURES = ("EPFail", "EngineError", "Fail", "RuntimeException")
# Part of onnxruntime's message for a model with nodes on the CPU, where that is refused.
_ON_CPU = "assigned to the default CPU EP"
# With this graph number onnxruntime records no CUDA graph.
_NO_GRAPH = -1


class Session:
    """A model that is ready to run. `Session.open` makes one.

    Attributes:
        device: The device that it runs on.
        reason: Why it runs there: ``asked for``, or the finding of ``auto``.
        options: Its settings.
        inputs: The model's inputs by name, in order.
        outputs: The model's outputs by name, in order.
        metadata: The key-value pairs stored in the model.
        producer: The program that wrote the model.
        assignment: For each provider, the number of nodes of each operator, after onnxruntime's basic rewrites. None
            before onnxruntime 1.24, which does not report it.
        cache: The outcome of `SessionOptions.cache`: ``prepared before``, ``prepared now`` or ``not prepared`` with the
            reason; None if no cache was asked for or the device is not the CPU.
        native: onnxruntime's or the engine's own session, for binding inputs and outputs and for profiles.
    """

    def __init__(
        self,
        native: Any,
        device: Device,
        reason: str,
        options: SessionOptions,
        backend: Backend,
        cache: str | None = None,
    ) -> None:
        self.native = native
        self.cache = cache
        self.device = device
        self.reason = reason
        self.options = options
        self.inputs: Mapping[str, TensorInfo] = tensors(native.get_inputs())
        self.outputs: Mapping[str, TensorInfo] = tensors(native.get_outputs())
        told = native.get_modelmeta()
        self.metadata: Mapping[str, str] = MappingProxyType(dict(told.custom_metadata_map))
        self.producer: str = told.producer_name
        self.assignment = _assignment(native)
        self._backend = backend
        self._graphs = itertools.count()

    @classmethod
    def open(
        cls,
        model: str | os.PathLike[str] | bytes,
        device: str = "auto",
        options: SessionOptions | None = None,
        *,
        backend: Backend | None = None,
    ) -> Session:
        """Opens a model.

        Args:
            model: A file's path, or a serialized ``ModelProto``.
            device: ``cpu``, ``openvino``, ``openvino-bf16``, ``cuda``, ``cuda:N``, or ``auto`` for CUDA where it works
                and the CPU elsewhere.
            options: Settings; the defaults suit a single session.
            backend: A replacement of the installed onnxruntime, for tests.

        Raises:
            ModelFileError: The file is missing, unreadable, not a model, or a model that onnxruntime refuses.
            DeviceError: The device cannot be used; the CPU is never used instead.
            OptionError: No device has that name.
        """
        wanted = parse_device(device)
        _require_file(model)
        backend = backend or installed_backend()
        options = SessionOptions.given(options)
        if wanted is not None:
            native, cache = _create(model, wanted, options, backend)
            return cls(native, wanted, "asked for", options, backend, cache)
        *preferred, last = map(Device, AUTO)
        refusals = []
        for candidate in preferred:
            try:
                native, cache = _create(model, candidate, options, backend)
            except DeviceError as error:
                refusals.append(error.message)
                continue
            return cls(native, candidate, f"auto: {candidate.provider.title} works", options, backend, cache)
        native, cache = _create(model, last, options, backend)
        return cls(native, last, f"auto: {'; '.join(refusals)}", options, backend, cache)

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Runs the model once.

        Args:
            inputs: An array for each input, of exactly its type and shape.
            outputs: Names of the outputs to compute; all by default.

        Returns:
            Arrays by output name, in the order asked for.

        Raises:
            OptionError: An input or output does not exist, is missing, or has another type or shape.
            ResnetCompileError: The run failed, for lack of memory for example.
        """
        check_inputs(self.inputs, inputs)
        names = list(self.outputs) if outputs is None else known_outputs(self.outputs, outputs)
        # An array given for one run has an address that will not last, so the run must not be recorded.
        extra = [self._graph_options(_NO_GRAPH)] if self.options.cuda_graph else []
        with self._failures():
            arrays = self.native.run(names, dict(inputs), *extra)
        return dict(zip(names, arrays, strict=True))

    def first_run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Runs the model once, like `run`, and searches onnxruntime's log for a warning that runs are far slower.

        Raises:
            DeviceError: The provider warns that it uses a far slower fallback.
        """
        slow, severity = self.device.provider.slow, self.options.log_severity
        if slow is None:
            return self.run(inputs)
        # Kernels write to the logger of the process, not to the session's.
        self._backend.onnxruntime.set_default_logger_severity(LOG_SEVERITY["warning"])
        try:
            with caught_log() as log:
                outputs = self.run(inputs)
        finally:
            self._backend.onnxruntime.set_default_logger_severity(LOG_SEVERITY[severity])
        if LOG_SEVERITY[severity] <= LOG_SEVERITY["warning"]:
            sys.stderr.write(log.text)
        if found := list(dict.fromkeys(re.findall(slow, log.text))):
            message = f"{self.device.provider.title} would run {len(found)} of the nodes in its slow fallback"
            raise DeviceError(f"{message}, such as {found[0]}", where=str(self.device))
        return outputs

    def bind(
        self, inputs: Sequence[Mapping[str, NDArray[Any]]], outputs: Mapping[str, NDArray[Any]], *, transfer: bool
    ) -> Binding:
        """Binds inputs and outputs to buffers, so that the model can run many times without allocating memory.

        Args:
            inputs: Sets of inputs to rotate among, all of the same shapes.
            outputs: Arrays of the outputs' types and shapes, by name, such as the results of a first `run`.
            transfer: Whether each run on a GPU includes the copies from the host and back; else inputs and outputs stay
                on the device. Ignored on the CPU.

        Raises:
            OptionError: An input is missing or has another type or shape.
            ResnetCompileError: There is not enough memory, or CUDA cannot record the run.
        """
        if not isinstance(inputs, Sequence) or not inputs:
            raise OptionError("inputs must be a list of at least one set of arrays")
        for each in inputs:
            check_inputs(self.inputs, each)
        known_outputs(self.outputs, outputs)
        with self._failures():
            run_options = self._graph_options(next(self._graphs)) if self.options.cuda_graph else None
            return Binding(self._places(), inputs, outputs, transfer=transfer, run_options=run_options)

    def recur(
        self, state: Mapping[str, NDArray[Any]], next_names: Mapping[str, str], told: Sequence[str]
    ) -> Recurrence:
        """Puts a state on the device, for a model whose outputs are its next inputs.

        Args:
            state: The initial state: arrays by input name.
            next_names: For each changing input of the state, the output with its next value.
            told: The outputs that every run returns. They and the inputs outside the state need fixed shapes.

        Raises:
            OptionError: An input is missing, has another type or shape, or has no fixed shape.
            ResnetCompileError: There is not enough memory.
        """
        names = {*by_name(state), *by_name(next_names)}
        check_inputs({name: info for name, info in self.inputs.items() if name in names}, state)
        known_outputs(self.outputs, next_names.values())
        fed = {name: info for name, info in self.inputs.items() if name not in names}
        wanted = {name: self.outputs[name] for name in known_outputs(self.outputs, told)}
        with self._failures():
            return Recurrence(self._places(), state, next_names, fed, wanted)

    def _places(self) -> Places:
        # New for each binding: kept in the session, it would form a cycle and hold memory until a garbage collection.
        values = self.native.values if self.device.provider.engine else self._backend.onnxruntime.OrtValue
        return Places(self.native, values, self.device, self._failures)

    def _graph_options(self, graph: int) -> Any:
        """Run options that make CUDA record the graph with this number, or replay it."""
        options = self._backend.onnxruntime.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(graph))
        return options

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Turns onnxruntime's exceptions into `ResnetCompileError`."""
        # A bound run raises RuntimeError for everything.
        raised: tuple[type[Exception], ...] = (RuntimeError, *self._backend.error_types(*_MODEL_ERRORS, *_FAILURES))
        try:
            yield
        except raised as error:
            hint = "a smaller batch needs less memory" if "alloc" in str(error).lower() else None
            raise ResnetCompileError(
                f"the model failed: {_sentence(error)}", where=str(self.device), hint=hint
            ) from error

    def end_profile(self) -> Path:
        """Ends the profile and returns its file."""
        return Path(self.native.end_profiling())

    def record(self) -> dict[str, Any]:
        """The session's device, providers, options and node placement, as plain JSON values."""
        return {
            "device": str(self.device),
            "reason": self.reason,
            "onnxruntime": self._backend.onnxruntime.__version__,
            "engine": getattr(self.native, "engine", f"onnxruntime {self._backend.onnxruntime.__version__}"),
            "providers": {name: dict(values) for name, values in self.native.get_provider_options().items()},
            "options": self.options.model_dump(),
            "nodes": None if self.assignment is None else {name: dict(ops) for name, ops in self.assignment.items()},
        }


def _require_file(model: str | os.PathLike[str] | bytes) -> None:
    """Checks the file before onnxruntime is loaded."""
    if isinstance(model, bytes):
        return
    path = as_path(model)
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise ModelFileError(f"cannot read the model: {error.strerror or error}", where=str(path)) from error
    if empty:
        raise ModelFileError("the file is empty", where=str(path))


def prepare(
    model: str | os.PathLike[str], options: SessionOptions | None = None, *, backend: Backend | None = None
) -> Path:
    """Prepares a model for this machine's CPU, so that a session with `SessionOptions.cache` opens it at once.

    Args:
        model: A file's path.
        options: Settings; the level of graph optimisation decides the result.
        backend: A replacement of the installed onnxruntime, for tests.

    Returns:
        The prepared model, in the folder `MODEL.prepared`. One that fits this machine and model is not made again.

    Raises:
        ModelFileError: As `Session.open`.
        OutputError: The folder cannot be written.
    """
    _require_file(model)
    backend, options = backend or installed_backend(), SessionOptions.given(options)
    shelf = Shelf.beside(as_path(model), options.graph_optimization, backend)
    return shelf.find() or shelf.make(lambda path: _write(shelf.model, path, options, backend))


def _write(model: Path, path: Path, options: SessionOptions, backend: Backend) -> None:
    _native(model, Device(CPU), options, backend, written=path)


def _create(
    model: str | os.PathLike[str] | bytes, device: Device, options: SessionOptions, backend: Backend
) -> tuple[Any, str | None]:
    """An onnxruntime session on exactly this device, and the outcome of the cache; None without a cache."""
    if not options.cache or device.provider is not CPU or isinstance(model, bytes):
        return _native(model, device, options, backend), None
    told = "prepared before"
    shelf = Shelf.beside(as_path(model), options.graph_optimization, backend)
    try:
        if (path := shelf.find()) is None:
            path, told = shelf.make(lambda path: _write(shelf.model, path, options, backend)), "prepared now"
        return _native(path, device, options.replace(graph_optimization="disabled"), backend), told
    except (OutputError, ModelFileError) as error:
        # If onnxruntime refuses the model itself, this raises again, with the model's own name.
        return _native(model, device, options, backend), f"not prepared: {error.message}"


def _native(
    model: str | os.PathLike[str] | bytes,
    device: Device,
    options: SessionOptions,
    backend: Backend,
    written: Path | None = None,
) -> Any:
    """A session of onnxruntime, or of the row's engine, on exactly this device.

    onnxruntime writes the prepared model to `written`, if given.
    """
    device.require(backend)
    provider = device.provider
    if provider.engine:
        return provider.engine(model, options, backend)
    refuse_cpu = not (options.cpu_fallback or device.on_host)
    providers = [
        (each.name, each.options(options, device.index)) if each.options else each.name
        for each in (provider, *provider.rest)
        # onnxruntime treats naming the CPU provider and refusing it as a contradiction.
        if not (refuse_cpu and each.memory == "cpu")
    ]
    place = "<bytes>" if isinstance(model, bytes) else os.fspath(model)
    source = model if isinstance(model, bytes) else place
    try:
        # By default onnxruntime prints a banner to stdout and retries on the CPU.
        native = backend.onnxruntime.InferenceSession(
            source,
            options.native(backend, refuse_cpu=refuse_cpu, written=written),
            providers=providers,
            enable_fallback=0,
        )
    except backend.error_types(*_MODEL_ERRORS) as error:
        raise ModelFileError(f"not a model that onnxruntime takes: {_sentence(error)}", where=place) from error
    except backend.error_types(*_FAILURES) as error:
        if refuse_cpu and _ON_CPU in str(error):
            message = f"{provider.title} does not support some nodes of the model, which would run on the CPU"
            hint = "SessionOptions(cpu_fallback=True), or --cpu-fallback, lets them"
            raise DeviceError(message, where=str(device), hint=hint) from error
        if provider.failure and re.search(provider.failure, str(error), re.IGNORECASE):
            raise DeviceError(f"{provider.title} failed: {_sentence(error)}", where=str(device)) from error
        raise ModelFileError(f"onnxruntime cannot load the model: {_sentence(error)}", where=place) from error
    _require_nodes(native, device)
    return native


def _require_nodes(native: Any, device: Device) -> None:
    """Checks that a session runs on the device that it was opened for."""
    provider = device.provider
    if provider.name not in native.get_providers():
        raise DeviceError(
            f"onnxruntime left the {provider.title} provider out; its log says why",
            where=str(device),
            hint="open it with log_severity='warning', or -v on the command line, to see it",
        )
    assignment = _assignment(native)
    if assignment and provider.name not in assignment:
        raise DeviceError(f"onnxruntime gave no node of the model to {provider.title}", where=str(device))


def _assignment(native: Any) -> Mapping[str, Mapping[str, int]] | None:
    """Counts nodes by provider and operator."""
    query = getattr(native, "get_provider_graph_assignment_info", None)
    if query is None:
        return None
    counts: dict[str, Counter[str]] = {}
    for subgraph in query():
        counts.setdefault(subgraph.ep_name, Counter()).update(node.op_type for node in subgraph.get_nodes())
    return MappingProxyType({name: MappingProxyType(dict(operators)) for name, operators in counts.items()})


def _sentence(error: Exception) -> str:
    """onnxruntime's message on one line, without the code in front."""
    text = " ".join(str(error).split())
    return re.sub(r"^(Error in execution: )?(\[ONNXRuntimeError\] : \d+ : \w+ : )?", "", text).rstrip(".")
