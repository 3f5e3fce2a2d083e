"""The page of a network to scale, against the plan, the costs and its own drawing."""

import re

import pytest

from resnet_compile import CompileOptions, Head, load_spec, plan_network
from resnet_compile.costs import costs
from resnet_compile.report.network_page import network_page


def rows(html: str) -> list[list[list[str]]]:
    """The rows of the table of units, as the texts of their cells; a cell has one for each network."""
    table = html.partition('class="many units"')[2].partition("<tbody>")[2].partition("</tbody>")[0]
    cells = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", line) for line in re.findall(r"<tr.*?>(.*?)</tr>", table)]
    plain = [[cell.replace("\N{NO-BREAK SPACE}", " ") for cell in line] for line in cells]
    return [[[text for text in re.split(r"<.*?>", cell) if text] for cell in line] for line in plain]


def row(html: str, name: str) -> list[list[str]]:
    return next(each for each in rows(html) if each[0][0] == name)


def heights(html: str, strip: int) -> list[float]:
    """The heights of a strip's bars in the wide drawing."""
    path = re.findall(r'<path d="([^"]*)"', html)[strip]
    return [float(height) for height in re.findall(r"v-([\d.]+)h", path)]


def test_a_row_tells_what_the_plan_and_the_costs_tell() -> None:
    html = network_page([costs("resnet50")])
    assert row(html, "block2")[1:5] == [["512x14x14"], ["/16"], ["99"], ["1,220,608"]]
    first, kind, *facts = (text for cell in rows(html)[4] for text in cell)
    assert (first, kind) == ("unit_1", "bottleneck_v2")
    # 256 channels of 56x56 in float32 are 3.21 MB: those held are the shortcut, the residual and their sum.
    assert facts == ["256x56x56", "/4", "19", "74,624", "231 M", "14.5 MB", "9.63 MB"]
    assert "<b>483</b><span>pixels, receptive field of the last unit</span>" in html
    assert "<b>25.6\N{NO-BREAK SPACE}M</b><span>parameters</span>" in html


@pytest.mark.parametrize("name", ["tiny", "cifar_resnet20", "resnet101_segmentation", "timm_ecaresnet50d"])
def test_the_bars_are_to_scale(name: str) -> None:
    found = costs(name)
    html = network_page([found])
    planned = found.plan
    units = slice(1, 1 + len([*planned.units]))
    for strip, values in enumerate(
        (
            [unit.output.height for unit in planned.units],
            [unit.output.channels for unit in planned.units],
            None,
            [sum(p.size for layer in unit.layers for p in layer.parameters if p.trainable) for unit in planned.units],
            [sum(layer.macs for layer in unit.layers) for unit in planned.units],
        )
    ):
        drawn = heights(html, strip)
        assert len(drawn) == len([*planned.units]) + 2
        assert max(drawn) == 40
        if values:
            greatest = max(range(len(values)), key=lambda index: values[index])
            one = drawn[units][greatest]
            expected = [max(one * value / values[greatest], 0.5) for value in values]
            assert drawn[units] == pytest.approx(expected, abs=0.11)


def test_memory_is_that_of_the_costs() -> None:
    """All that is computed is computed in some part, and the most is held in one."""
    found = costs("timm_seresnet50")
    words = rows(network_page([found]))
    parts = [each for each in words if each[0][0] in ("root", "block1", "block2", "block3", "block4", "head")]
    computed = sum(float(each[6][0].split()[0]) for each in parts if each[6][0].endswith("MB"))
    assert computed == pytest.approx(found.activation_bytes / 1e6, abs=1)
    assert f"{found.activation_bytes_peak / 1e6:.3g} MB" in [each[7][0] for each in parts]


def test_strides_and_rates_are_marked_where_they_begin() -> None:
    marks = re.findall(
        r'y="30"[^>]*>([^<]*)<', network_page([costs("resnet101_segmentation")]).split('class="narrow"')[0]
    )
    assert sorted(marks) == ["/16", "/4", "/8", "rate 2"]


def test_two_networks_stand_side_by_side_on_one_scale() -> None:
    html = network_page([costs("torchvision_resnet18"), costs("torchvision_resnet50")])
    assert "torchvision_resnet18 and torchvision_resnet50" in html
    assert row(html, "block4")[1] == ["512x7x7", "2048x7x7"]
    third = rows(html)[rows(html).index(row(html, "block2")) + 3]
    assert third[1:3] == [["–", "512x28x28"], ["–", "/8"]], "a unit that only the second has"
    assert max(heights(html, 1)) == pytest.approx(40 * 1000 / 2048, abs=0.1), "channels; the head has most"
    assert max(heights(html, 13)) == 40


def test_the_maps_of_every_scale_are_marked() -> None:
    found = [cell[1] for cell, *_ in rows(network_page([costs("resnet50")])) if re.search("C[0-9]$", cell[-1])]
    assert found == ["bottleneck_v2, C2", "bottleneck_v2, C3", "bottleneck_v2, C4", "3 units, C5"]


def test_networks_of_one_name_are_told_apart() -> None:
    html = network_page([costs("tiny"), costs("tiny", CompileOptions(size=(64, 64)))])
    assert "tiny (1) and tiny (2)" in html


def test_layers_stand_below_their_unit() -> None:
    found = [costs("tiny")]
    layers = {layer.scope.rpartition("/")[2] for unit in plan_network("tiny").units for layer in unit.layers}
    names = {each[0][0] for each in rows(network_page(found, layers=True))}
    assert layers <= names
    assert not layers - {"conv1"} & {each[0][0] for each in rows(network_page(found))}


def test_the_page_needs_nothing_from_anywhere_else_and_escapes_names() -> None:
    spec = load_spec("tiny").replace(origin="<script>alert(1)</script>")
    html = network_page([costs(spec)])
    assert not re.findall(r"(src|href)=|url\(|@import|<script", html)
    assert "&lt;script&gt;" in html


def test_every_end_point_is_named() -> None:
    html = network_page([costs("tiny")])
    for word in ("conv1", "block1/unit_2/conv2", "block2", "predictions"):
        assert re.search(rf"[>, ]{word}[<,]", html.partition("The words for --outputs.")[2])


def test_a_network_without_a_root_or_a_head_has_a_page() -> None:
    spec = load_spec("cifar_resnet20")
    bare = spec.replace(
        root=None,
        input=spec.input.replace(channels=16),
        head=Head(num_classes=None, global_pool=False, postnorm="none"),
    )
    assert len(heights(network_page([costs(bare)]), 0)) == 9
