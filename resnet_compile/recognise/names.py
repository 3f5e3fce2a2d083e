"""Recognises a network from the names and shapes of a checkpoint.

The naming tables are run backwards, so a family with a table needs no code here. Facts that names cannot show (strides,
padding, epsilon, slopes) come from the family's networks in the catalogue and are reported as assumptions. A spec
matches if its plan has exactly the file's parameters, each with the file's shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from resnet_compile.errors import SpecError, WeightsError
from resnet_compile.plan import Plan, plan_network
from resnet_compile.plan.root_kinds import in_parts
from resnet_compile.recognise.assembly import candidates, networks, stride_rule
from resnet_compile.recognise.reading import Reading, Shape, readings
from resnet_compile.recognise.recognised import Recognised, in_words
from resnet_compile.spec import BatchNorm, NetworkSpec, load_spec
from resnet_compile.weights.fitting import Fit, fitting_specs
from resnet_compile.weights.sections import ROOT
from resnet_compile.weights.source import Tensors

_READINGS = 8  # how many readings are tried, those with the most names first


def read_names(tensors: Tensors, section: Sequence[str], name: str) -> Recognised:
    """The network whose parameters a source holds.

    Args:
        tensors: The source's tensors, by their plain names.
        section: The section that holds the network; empty searches everywhere.
        name: The name of a network that is not in the catalogue.

    Raises:
        WeightsError: No naming table reads the names, or no network has these parameters.
    """
    found = readings(tensors, section)
    # A reading that leaves tensors unread that another reads covers only a part of the network.
    for reading in [each for each in found if len(each.shapes) == len(found[0].shapes)][:_READINGS]:
        if fitting := _fitting(reading, name):
            return _told(reading, *fitting[0], others=[spec for spec, _ in fitting[1:]])
    # Tables that number layers cannot be run backwards, so the catalogue is tried.
    if fit := next(iter(fitting_specs(tensors)), None):
        return _of_the_catalogue(fit)
    raise _fault(tensors, found, name)


def _of_the_catalogue(fit: Fit) -> Recognised:
    spec = load_spec(fit.name)
    if fit.num_classes is not None:
        classes = None if fit.num_classes == "none" else int(fit.num_classes)
        spec = spec.replace(head=spec.head.replace(num_classes=classes))
    told = f"{fit.name} of the catalogue fits ({fit.naming} naming)"
    return Recognised(spec, told, ("what names and shapes do not show, as in the catalogue",))


def _fitting(reading: Reading, name: str) -> list[tuple[NetworkSpec, NetworkSpec]]:
    """The candidates that have the file's parameters; empty if its shapes fit no spec at all."""
    try:
        return [(spec, model) for spec, model in candidates(reading, name) if _fits(spec, reading)]
    except SpecError:
        return []


def _fits(spec: NetworkSpec, reading: Reading) -> bool:
    planned = _planned(spec)
    return planned is not None and _shapes(planned) == _wanted(reading, spec)


def _planned(spec: NetworkSpec) -> Plan | None:
    try:
        return plan_network(spec)
    except SpecError:
        return None


def _shapes(planned: Plan) -> dict[str, Shape]:
    return {each.name.removeprefix(f"{planned.name}/"): _plain(each.shape) for each in planned.parameters}


def _wanted(reading: Reading, spec: NetworkSpec) -> dict[str, Shape]:
    kind = spec.blocks[0].unit.kind
    return {name.replace("/*/", f"/{kind}/"): _plain(shape) for name, shape in reading.shapes.items()}


def _plain(shape: Shape) -> Shape:
    """A shape without axes of length 1 after the first two, so that 1x1 convolutions equal dense layers."""
    return (*shape[:2], *(length for length in shape[2:] if length != 1))


def _told(reading: Reading, spec: NetworkSpec, model: NetworkSpec, others: Sequence[NetworkSpec]) -> Recognised:
    known = next((each for each in networks() if _same(each, spec)), None)
    where = "" if not reading.prefix else f", in section {reading.prefix.rstrip('./') or ROOT}"
    what = f"{known.name}, " if known else ""
    told = f"read off the names: {what}{in_words(spec)} ({reading.naming.name} naming{where})"
    if known:
        spec = known.replace(head=known.head.replace(num_classes=spec.head.num_classes))
    return Recognised(spec, told, tuple(_assumptions(reading, spec, known or model, others)))


def _same(known: NetworkSpec, spec: NetworkSpec) -> bool:
    """Whether two specs differ only in their names and numbers of classes."""
    if sum(block.num_units for block in known.blocks) != sum(block.num_units for block in spec.blocks):
        return False
    one, other = (
        plan_network(each.replace(name="any", origin=None, input=spec.input, head=each.head.replace(num_classes=None)))
        for each in (known, spec)
    )
    return (one.root, one.blocks, one.head) == (other.root, other.blocks, other.head) and known.norm == spec.norm


def _assumptions(reading: Reading, spec: NetworkSpec, model: NetworkSpec, others: Sequence[NetworkSpec]) -> list[str]:
    """The assumptions about facts that names do not show, each with its field in the spec."""
    last, even = stride_rule(model)
    assumed = [
        f"stride 2 in the {'last' if last else 'first'} unit of every block but the {even} (blocks[].args[].stride)"
    ]
    if spec.root:
        pool = in_parts(spec.root).pool
        words = "none" if pool is None else " ".join(str(value) for _, value in pool)
        assumed.append(f"the root's pool: {words} (root)")
    if isinstance(spec.norm, BatchNorm):
        assumed.append(f"epsilon {spec.norm.epsilon:g} (norm.epsilon)")
    kinds = dict.fromkeys(each.blocks[0].unit.kind for each in others)
    if more := [kind for kind in kinds if kind != spec.blocks[0].unit.kind]:
        fit = f"{' and '.join(more)} {'fits' if len(more) == 1 else 'fit'} too"
        assumed.append(f"units of kind {spec.blocks[0].unit.kind}, where {fit} (blocks[].unit.kind)")
    if reading.naming.untold:
        assumed.append(f"{reading.naming.untold}, as in {model.origin or model.name}")
    assumed.append("no output stride, and a mean over the last map (output_stride, head.global_pool)")
    assumed.append(f"images of {spec.input.height}x{spec.input.width} (--size)")
    return assumed


def _fault(tensors: Tensors, found: Sequence[Reading], name: str) -> WeightsError:
    """Why nothing was recognised: the nearest reading, and its first parameter that fits no network."""
    if not found:
        shown = ", ".join(sorted(tensors)[:3])
        return WeightsError(
            "no naming table reads the names as those of a residual network", hint=f"the names are like {shown}"
        )
    reading = found[0]
    by = f"by the {reading.naming.name} naming"
    for spec in _made(reading, name):
        if planned := _planned(spec):
            has, wants = _wanted(reading, spec), _shapes(planned)
            differing = [each for each in {**wants, **has} if has.get(each) != wants.get(each)]
            first = differing[0]
            word = (
                "is missing"
                if first not in has
                else "is not the network's"
                if first not in wants
                else (f"has shape {list(has[first])}, not {list(wants[first])}")
            )
            fault = f"{len(differing)} parameters are not those of a network of {spec.blocks[0].unit.kind} units {by}"
            return WeightsError(f"{fault}, the first: {first} {word}", hint="resnet-inspect shows what it nearly fits")
    return WeightsError(f"no network of the catalogue has units like these {by}")


def _made(reading: Reading, name: str) -> Iterator[NetworkSpec]:
    """The candidates up to the first that is not a valid spec."""
    with suppress(SpecError):
        yield from (spec for spec, _ in candidates(reading, name))
