"""Classifying many images on a Ray cluster, by Ray Data: tasks decode on CPUs, a pool of actors holds the model.

Ray starts what died anew and repeats its blocks, so that each image has one answer in the end. Files and the model must
be where every machine of the cluster finds them by the same path.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_compile import errors
from resnet_compile.batch import NO_CLASS, Classifier, Decoder
from resnet_compile.errors import DeviceError, OptionError, ResnetCompileError
from resnet_compile.runtime import Device, SessionOptions, parse_device

_PATIENCE = 10
"""Seconds that a cluster has to answer in."""
_BLOCK = 64
"""Images of a task that decodes."""
_ROOM = 4
"""An actor's memory over its model's: onnxruntime's own copy of the weights, and what a batch computes."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Ray cluster that this process is connected to.

    Attributes:
        ray: The module.
        cpus: Its cores.
        gpus: Its GPUs.
    """

    ray: Any
    cpus: int
    gpus: int

    def device(self, asked: str) -> Device:
        """The device of the actors. Ray gives each a GPU, and they see no other.

        Raises:
            OptionError: No device has that name, or it has a number.
            DeviceError: A GPU was asked for and there is none.
        """
        wanted = parse_device(asked if asked != "auto" else "cuda" if self.gpus else "cpu")
        assert wanted is not None  # `auto` alone is none
        if ":" in asked:
            raise OptionError(f"Ray chooses the GPU, got {asked}", where="device", hint=wanted.provider.kind)
        if not wanted.on_host and not self.gpus:
            raise DeviceError("the Ray cluster has no GPU", where=asked, hint="--device cpu")
        return wanted

    def answers(
        self,
        model: Path | bytes,
        paths: Sequence[Path],
        *,
        decoder: Decoder,
        device: Device,
        top: int,
        labels: Sequence[str] | None,
        batch: int,
        cache: bool = False,
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Classifies images; the position of each, and its answer as `Shards.add` takes it, in order.

        Raises:
            ResnetCompileError: An actor cannot open the model, a run failed, or answers are missing.
        """
        if not paths:
            return
        data = self.ray.data
        data.DataContext.get_current().execution_options.preserve_order = True
        settings = SessionOptions(threads=1, spinning=False, cache=cache) if device.on_host else None
        size = len(model) if isinstance(model, bytes) else model.stat().st_size
        # The memory keeps a machine from more actors than it can hold, and Ray from joining the two stages in one.
        asked = {"num_cpus": 1, "memory": _ROOM * size} if device.on_host else {"num_gpus": 1}
        most = max(1, self.cpus - 1) if device.on_host else self.gpus
        rows = [{"position": at, "image": os.fspath(path.absolute())} for at, path in enumerate(paths)]
        answered = (
            data.from_items(rows, override_num_blocks=-(-len(rows) // _BLOCK))
            .map_batches(decoder.__call__, batch_size=batch)
            .map_batches(
                Classifier,
                fn_constructor_args=(model,),
                fn_constructor_kwargs={"top": top, "device": str(device), "labels": labels, "options": settings},
                batch_size=batch,
                compute=data.ActorPoolStrategy(min_size=1, max_size=most),
                **asked,
            )
        )
        done = 0
        try:
            for columns in answered.iter_batches(batch_size=batch):
                for at, position in enumerate(columns["position"]):
                    yield int(position), _entry(os.fspath(paths[position]), columns, at)
                    done += 1
        except self.ray.exceptions.RayError as error:
            raise _cause(error) from error
        if done != len(paths):
            raise ResnetCompileError(f"Ray gave {done} answers for {len(paths)} images")


def _entry(path: str, columns: Any, at: int) -> dict[str, Any]:
    if columns["error"][at]:
        return {"image": path, "error": columns["error"][at]}
    places = []
    for rank, index in enumerate(columns["class"][at]):
        if index != NO_CLASS:
            named = {"label": columns["label"][at][rank]} if "label" in columns else {}
            places.append({"class": int(index), **named, "probability": float(columns["probability"][at][rank])})
    return {"image": path, "top": places}


def _cause(error: BaseException) -> ResnetCompileError:
    """The error of ours that Ray tells of, else what Ray says last."""
    if named := re.findall(rf"{errors.__name__}\.(\w+): (.+)", str(error)):
        kind: type[ResnetCompileError] = getattr(errors, named[-1][0], ResnetCompileError)
        return kind(named[-1][1])
    return ResnetCompileError(f"Ray failed: {_last_line(str(error)) or type(error).__name__}")


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


@contextmanager
def cluster(address: str) -> Iterator[Cluster]:
    """Connects to a Ray cluster, or starts one on this machine.

    Args:
        address: ``HOST:PORT``, ``auto`` for the one on this machine, or ``local`` for one that ends with the block.

    Raises:
        DeviceError: Ray is not installed, or no cluster answers.
        OptionError: The address has another form.
    """
    host, colon, port = address.rpartition(":")
    if address not in ("auto", "local") and not (host and colon and port.isdigit() and "/" not in host):
        raise OptionError(f"must be HOST:PORT, auto or local, got {address!r}", where="ray")
    # Ray reads both on import; what it logs is not for the users of a command.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        # Deferred: an optional package.
        import ray
        import ray.data
    except ImportError:
        raise DeviceError("Ray is not installed", where="ray", hint='pip install ".[ray]"') from None
    if address != "local":
        _require_answer(address)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    handler = signal.getsignal(signal.SIGTERM)
    # Two cores at least, for a task and an actor at once.
    own = {"include_dashboard": False, "num_cpus": max(2, os.cpu_count() or 1)} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreachable(address, " ".join(str(error).split())) from None
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray's own would leave the answers so far unwritten
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        there = ray.cluster_resources()
        yield Cluster(ray, int(there.get("CPU", 1)), int(there.get("GPU", 0)))
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Asks a cluster how it is, in a process that can be ended: Ray itself tries for minutes."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "status"]
    if address != "auto":
        command += ["--address", address]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise _unreachable(address, f"nothing within {_PATIENCE} s") from None
    if done.returncode:
        raise _unreachable(address, _last_line(done.stderr.decode(errors="replace")).partition(". ")[0])


def _unreachable(address: str, reason: str) -> DeviceError:
    hint = "ray start --head starts a cluster; --ray local needs none"
    return DeviceError(f"no Ray cluster answers: {reason}", where=address, hint=hint)
