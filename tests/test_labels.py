"""Labels: their files, and the one offset that exists."""

from pathlib import Path

import pytest

from resnet_compile.errors import UsageError
from resnet_compile.images import align_labels, load_labels


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "tench\ngoldfish, Carassius auratus\ngreat white shark\n"),
        ("labels.txt", "\ufefftench\r\ngoldfish, Carassius auratus\r\ngreat white shark\r\n\r\n"),
        ("labels.names", "tench\n goldfish, Carassius auratus \ngreat white shark"),
        ("labels.json", '["tench", "goldfish, Carassius auratus", "great white shark"]'),
        ("labels.JSON", '{"2": "great white shark", "0": "tench", "1": "goldfish, Carassius auratus"}'),
        (
            "keras.json",
            '{"0": ["n1", "tench"], "1": ["n2", "goldfish, Carassius auratus"], "2": ["n3", "great white shark"]}',
        ),
        ("flowers.txt", "0:tench\n1:goldfish, Carassius auratus\n2:great white shark\n"),
        ("order.txt", "2, great white shark\n0, tench\n1, goldfish, Carassius auratus\n"),
        ("tabs.tsv", "0\ttench\n1\tgoldfish, Carassius auratus\n2\tgreat white shark"),
        ("clsidx.txt", "{0: 'tench',\n 1: 'goldfish, Carassius auratus',\n 2: \"great white shark\"}"),
        ("list.txt", "['tench', 'goldfish, Carassius auratus', 'great white shark']"),
        (
            "synset_words.txt",
            "n01440764 tench\nn01443537 goldfish, Carassius auratus\nn01484850 great white shark\n",
        ),
        ("class_to_idx.json", '{"tench": 0, "great white shark": 2, "goldfish, Carassius auratus": 1}'),
        (
            "config.json",
            '{"model_type": "resnet", "id2label": {"0": "tench", "1": "goldfish, Carassius auratus", '
            '"2": "great white shark"}}',
        ),
    ],
)
def test_forms_of_labels_files(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode())
    assert load_labels(path) == ("tench", "goldfish, Carassius auratus", "great white shark")
    assert load_labels(str(path)) == load_labels(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "the file holds no labels"),
        ("a.txt", b"one\n\nthree\n", "index 1 has an empty label"),
        ("a.txt", b"one\ntw\xff\n", "labels are not UTF-8: byte 6 is 0xff"),
        ("a.json", b"[]", "the file holds no labels"),
        ("a.json", b'["one", ""]', "index 1 has an empty label"),
        ("a.json", b'["one"', "labels are not JSON: "),
        ("a.json", b'"one"', "labels must be a JSON list or an object"),
        ("a.json", b'["one", 2]', "label 1 is not a string"),
        ("a.json", b'["one", []]', "label 1 is not a string"),
        ("a.json", b'{"0": "one", "2": "three"}', "2 labels, but none for index 1"),
        ("a.json", b'{"tench": "0"}', "0 labels, but none for index 0"),
        ("a.txt", b"0:one\n2:three\n", "2 labels, but none for index 1"),
        ("a.txt", b"{0: open('x')}", "labels are not JSON: "),
        ("a.json", b"[" * 100_000, "labels are nested too deeply"),
    ],
)
def test_bad_labels_file_is_a_usage_error_that_names_it(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load_labels(path)
    assert str(caught.value).startswith(message)
    assert caught.value.where == str(path)
    assert caught.value.exit_code == 2


def test_missing_labels_file() -> None:
    with pytest.raises(UsageError, match=r"cannot read the labels: No such file or directory @ absent\.txt"):
        load_labels("absent.txt")


def numbered(count: int) -> list[str]:
    return [f"class {index}" for index in range(count)]


@pytest.mark.parametrize("count", [1, 10, 1000, 1001])
def test_equal_counts_stay_as_they_are(count: int) -> None:
    assert align_labels(numbered(count), count) == tuple(numbered(count))


def test_a_thousand_labels_shift_past_the_background_class() -> None:
    aligned = align_labels(numbered(1000), 1001)
    assert aligned[:2] == ("background", "class 0")
    assert aligned[1000] == "class 999"
    assert len(aligned) == 1001


def test_background_is_dropped_for_a_network_without_it() -> None:
    assert align_labels(["Background", *numbered(1000)], 1000) == tuple(numbered(1000))


@pytest.mark.parametrize(("labels", "classes"), [(10, 11), (1000, 10), (1001, 1000), (999, 1000), (1000, 1002)])
def test_other_counts_are_an_error(labels: int, classes: int) -> None:
    with pytest.raises(UsageError, match=f"labels must be as many as the network's {classes} classes, got {labels}"):
        align_labels(numbered(labels), classes)
