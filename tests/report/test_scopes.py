from collections.abc import Iterable

from resnet_compile.report.scopes import ROWS, scopes


def shown(names: Iterable[str]) -> list[str]:
    """Each row as its indented name, how many names it has and their size."""
    return [f"{'  ' * level}{s.name} {s.names} {s.size}" for level, s in scopes((name, 2, "float32") for name in names)]


def test_a_scope_that_holds_but_one_other_is_joined_to_it() -> None:
    names = ["module.net.conv.weight", "module.net.conv.bias", "module.net.bn.weight", "step"]
    assert shown(names) == ["module.net. 3 6", "  conv. 2 4", "  bn.weight 1 2", "step 1 2"]


def test_scopes_are_opened_as_far_as_a_screen_allows() -> None:
    units = [f"layer{b}.{u}.conv{k}.{w}" for b in range(4) for u in range(6) for k in range(3) for w in ("w", "b")]
    rows = shown(units)
    assert rows[:3] == ["layer0. 36 72", "  0. 6 12", "  1. 6 12"]
    assert len(rows) == 4 + 4 * 6 <= ROWS


def test_many_that_differ_in_numbers_are_one() -> None:
    names = [f"conv{b}_block{u}_{k}/kernel" for b in range(3) for u in range(9) for k in range(2)] + ["post/gamma"]
    (level, merged), (_, last) = scopes((name, 2, "float32") for name in names)
    assert (level, merged.name, merged.merged, merged.names, merged.size) == (0, "conv#_block#_#/kernel", 54, 54, 108)
    assert (last.name, last.merged) == ("post/gamma", 1)


def test_sums_and_kinds() -> None:
    ((_, scope),) = scopes([("a/x", 3, "float32"), ("a/y", 4, "int64"), ("a/z", 5, "float32")])
    assert (scope.names, scope.size, [*scope.kinds]) == (3, 12, ["float32", "int64"])


def test_names_without_end() -> None:
    names = ["a/" * 5000 + "x", "a/" * 5000 + "y", "", "/", "//x"]
    assert sum(scope.names for level, scope in scopes((name, 1, "") for name in names) if level == 0) == len(names)
