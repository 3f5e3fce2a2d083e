"""Whole trainings, narrow and short."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.contents import arrays_of
from support.image_data import write_image
from support.models import run, runner
from support.tolerances import COST
from support.training_run import ONE_THREAD, images_of_test, narrow_spec, with_classes, write_cifar

from resnet_compile import compile as compile_network
from resnet_compile.checkpoints.formats import open_checkpoint
from resnet_compile.errors import DataError, OptionError, OutputError, TrainingError
from resnet_compile.runtime import Recurrence
from resnet_compile.training import (
    Evaluation,
    Listener,
    Progress,
    StepTaken,
    Trained,
    compile_step,
    evaluate,
    evaluate_run,
    next_name,
    read_log,
    train,
)
from resnet_compile.training.checkpoints import read_checkpoint, save_checkpoint
from resnet_compile.training.data import open_dataset, training_batches
from resnet_compile.training.options import CIFAR_SCHEDULE, PiecewiseSchedule, StepOptions, TrainOptions

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cifar(tmp_path_factory.mktemp("data") / "cifar")


def options(**changes: Any) -> TrainOptions:
    return TrainOptions(**{"batch": 8, "save_every": 5, "eval_every": 10, "steps": 24, "seed": 3, **changes})


def trained(data: Path, out: Path, *, spec: Any = None, **how: Any) -> Trained:
    named = {name: how.pop(name) for name in [*how] if name in TrainOptions.model_fields}
    return train(spec or narrow_spec(), data, out, options(**named), device="cpu", session=ONE_THREAD, **how)


class Diary(Listener):
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps: list[int] = []
        self.events: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def stepped(self, taken: StepTaken) -> None:
        self.steps.append(taken.step)

    def evaluated(self, progress: Progress, evaluation: Evaluation) -> None:
        self.events.append(f"evaluated {progress.step}")

    def saved(self, path: Path) -> None:
        self.events.append(path.name)


def after(count: int) -> tuple[Diary, Callable[[], bool]]:
    """A listener, and an interruption after so many steps."""
    diary = Diary()
    return diary, lambda: len(diary.steps) >= count


def same_state(one: Path, other: Path) -> None:
    expected, actual = read_checkpoint(one), read_checkpoint(other)
    assert actual.state.keys() == expected.state.keys()
    assert [n for n, v in expected.state.items() if v.tobytes() != actual.state[n].tobytes()] == []


def timeless(folder: Path) -> list[dict[str, Any]]:
    """A log without what a clock measured."""
    return [{k: v for k, v in entry.items() if k != "images_per_second"} for entry in read_log(folder)]


def test_steps_are_the_step_graphs(data: Path, tmp_path: Path) -> None:
    """Against a loop of five lines over plain onnxruntime, with rates by hand and the batches of the pipeline."""
    schedule = PiecewiseSchedule(boundaries=(2, 3), values=(0.1, 0.05, 0.2))
    done = trained(data, tmp_path, steps=5, schedule=schedule, optimizer="momentum", augmentation="crop")
    step = compile_step(narrow_spec(), StepOptions(batch=8))
    state = step.initial_state(seed=3)
    run_step = runner(step.to_proto())
    dataset = open_dataset(data, "train", num_classes=10)
    made = training_batches(dataset, batch=8, size=(32, 32), scheme="cifar", augmentation="crop", seed=3)
    with made as batches:
        for rate, batch in zip([0.1, 0.1, 0.05, 0.2, 0.2], batches, strict=False):
            feeds = {"images": batch.images, "labels": batch.labels, "learning_rate": np.array(rate, np.float32)}
            outputs = run_step({**feeds, **state})
            state = {name: outputs[next_name(name)] for name in state}
    saved = read_checkpoint(done.checkpoint)
    assert [n for n, values in state.items() if values.tobytes() != saved.state[n].tobytes()] == []
    assert int(saved.state["step"]) == saved.progress.step == 5


def test_the_log_tells_of_steps_and_evaluations(data: Path, tmp_path: Path) -> None:
    diary = Diary()
    done = trained(data, tmp_path, listener=diary)
    log = read_log(tmp_path)
    assert [("best_accuracy" in entry, entry["step"]) for entry in log] == [
        (False, 10),
        (True, 10),
        (False, 20),
        (True, 20),
        (True, 24),
    ]
    assert [*log[0]] == ["step", "loss", "accuracy", "learning_rate", "images_per_second"]
    accuracies = [entry["accuracy"] for entry in log if "best_accuracy" in entry]
    assert [entry["best_accuracy"] for entry in log if "best_accuracy" in entry] == [
        max(accuracies[: n + 1]) for n in range(3)
    ]
    assert done.progress.accuracy == accuracies[-1]
    assert done.progress.best_accuracy == max(accuracies)
    assert diary.steps == [*range(1, 25)]
    names = [f"checkpoint-{step:08}.npz" for step in (0, 5, 10, 15, 20, 24)]
    at = {10: 2, 20: 5, 24: 7}
    for step, place in at.items():
        names.insert(place, f"evaluated {step}")
    assert diary.events == names
    assert done.checkpoint.name == "checkpoint-00000024.npz"


def test_the_evaluation_is_of_the_compiled_model(data: Path, tmp_path: Path) -> None:
    """On images that are read and standardised by hand."""
    done = trained(data, tmp_path, steps=40)
    images, labels = images_of_test(data)
    logits = run(compile_network(narrow_spec(), weights=done.checkpoint).to_proto(), images)["narrow/logits"]
    accuracy = (logits.argmax(1) == labels).mean()
    assert done.progress.accuracy == accuracy > 0.3
    scores = logits.astype(np.float64)
    likelihood = np.exp(scores)[range(len(labels)), labels] / np.exp(scores).sum(1)
    assert read_log(tmp_path)[-1]["loss"] == pytest.approx(-np.log(likelihood).mean(), rel=COST)
    judged = evaluate_run(narrow_spec(), data, done.checkpoint, options(batch=7), device="cpu")
    assert (judged.images, judged.accuracy) == (24, accuracy)


def test_the_best_is_kept_and_is_what_the_folder_stands_for(data: Path, tmp_path: Path) -> None:
    """A rate of 1 after the 30th step spoils what was learnt by then."""
    schedule = PiecewiseSchedule(boundaries=(30,), values=(0.1, 1.0))
    done = trained(data, tmp_path, steps=60, schedule=schedule, eval_every=10, keep=2)
    judged = [entry for entry in read_log(tmp_path) if "best_accuracy" in entry]
    best = max(reversed(judged), key=lambda entry: entry["accuracy"])
    assert judged[-1]["accuracy"] < best["accuracy"], "or the last is as good, and nothing is tested"
    assert done.progress.best_step == best["step"]
    assert done.best == tmp_path / f"checkpoint-{best['step']:08}.npz"
    left = sorted(path.name for path in tmp_path.glob("*.npz"))
    assert left == [done.best.name, "checkpoint-00000055.npz", "checkpoint-00000060.npz"]
    images, labels = images_of_test(data)
    for weights, accuracy in ((tmp_path, best["accuracy"]), (done.checkpoint, judged[-1]["accuracy"])):
        model = compile_network(narrow_spec(), weights=weights)
        logits = run(model.to_proto(), images)["narrow/logits"]
        assert (logits.argmax(1) == labels).mean() == accuracy
    assert evaluate_run(narrow_spec(), data, tmp_path, device="cpu").accuracy == best["accuracy"]


def test_class_names_go_with_the_run(tmp_path: Path) -> None:
    folder = write_cifar(tmp_path / "named")
    (folder / "batches.meta.txt").write_text("\n".join(NAMES))
    done = trained(folder, tmp_path / "run", steps=1)
    assert done.progress.class_names == NAMES
    with open_checkpoint(tmp_path / "run") as checkpoint:
        assert checkpoint.class_names == tuple(NAMES)


def test_the_head_has_as_many_classes_as_the_data(data: Path, tmp_path: Path) -> None:
    diary = Diary()
    done = trained(data, tmp_path / "a", spec=with_classes(1000), steps=1, listener=diary)
    assert done.spec == with_classes(10)
    assert diary.notes[0] == "the head gets the data's 10 classes, not narrow's 1000; --num-classes 1000 keeps these"
    assert read_checkpoint(done.checkpoint).state["narrow/logits/biases"].shape == (10,)
    asked = trained(data, tmp_path / "b", spec=with_classes(1000), num_classes=12, steps=1, listener=(other := Diary()))
    assert asked.spec == with_classes(12)
    assert not any("classes" in note for note in other.notes)
    assert evaluate_run(narrow_spec(), data, tmp_path / "b", device="cpu").images == 24


def test_a_guess_of_how_to_prepare_is_told(data: Path, tmp_path: Path) -> None:
    spec, diary = narrow_spec(), Diary()
    trained(data, tmp_path / "named", steps=1, listener=diary)
    assert not [note for note in diary.notes if "guess" in note]
    spec = spec.replace(input=spec.input.replace(preprocess=None))
    trained(data, tmp_path / "unnamed", spec=spec, steps=1, listener=diary)
    assert "the spec names no preprocessing scheme; images are prepared by a guess, cifar" in diary.notes


def test_an_evaluation_before_the_averages_have_settled_says_so(data: Path, tmp_path: Path) -> None:
    """0.9^24 is 8 %; 0.9^44 is less than one in a hundred, and what is zero-debiased has nothing from before."""
    norm = {"epsilon": 0.001, "decay": 0.9}
    trained(data, tmp_path / "a", spec=narrow_spec(norm=norm), steps=44, eval_every=24, listener=(early := Diary()))
    assert [note for note in early.notes if "moving averages" in note] == [
        "after 24 steps initial values still make up 8% of the moving averages: this evaluation says little"
    ]
    trained(data, tmp_path / "b", steps=24, listener=(debiased := Diary()))
    assert not any("moving averages" in note for note in debiased.notes)


@pytest.mark.parametrize("stops", [(1,), (10,), (13,), (3, 12, 17), (20, 24)])
def test_a_resumed_run_is_the_run_that_never_stopped(data: Path, tmp_path: Path, stops: tuple[int, ...]) -> None:
    through = trained(data, tmp_path / "through")
    for number, stop in enumerate(stops):
        stopped = trained(data, tmp_path / "stopped", steps=stop, resume=number > 0)
        assert stopped.progress.step == stop
    resumed = trained(data, tmp_path / "stopped", resume=True)
    same_state(through.checkpoint, resumed.checkpoint)
    kept = [entry for entry in timeless(tmp_path / "stopped") if entry["step"] not in {*stops} - {10, 20, 24}]
    assert kept == timeless(tmp_path / "through")


@pytest.mark.parametrize("stop", [1, 10, 13, 24])
def test_an_interrupted_run_is_the_run_that_never_stopped(data: Path, tmp_path: Path, stop: int) -> None:
    through = trained(data, tmp_path / "through")
    diary, interrupted = after(stop)
    halted = trained(data, tmp_path / "halted", listener=diary, interrupted=interrupted)
    assert halted.interrupted
    assert halted.checkpoint.name == f"checkpoint-{stop:08}.npz"
    assert halted.progress.steps == 24
    resumed = trained(data, tmp_path / "halted", steps=None, resume=True)
    assert not resumed.interrupted
    same_state(through.checkpoint, resumed.checkpoint)
    assert timeless(tmp_path / "halted") == timeless(tmp_path / "through")
    assert read_checkpoint(resumed.checkpoint).progress == resumed.progress == through.progress


def test_a_fine_tuning_is_resumed_without_a_word_of_how_it_began(data: Path, tmp_path: Path) -> None:
    """Its schedule, its batch and its end are in the checkpoint."""
    weights = trained(data, tmp_path / "first", steps=3).checkpoint
    how = TrainOptions(save_every=5, seed=3)
    through = train(narrow_spec(), data, tmp_path / "a", how, weights=weights, device="cpu", session=ONE_THREAD)
    assert through.progress.steps == 100
    setup = through.progress.setup
    assert (setup["batch"], setup["recipe"]) == (32, "fine-tuning")
    assert setup["schedule"] == {"kind": "cosine", "peak": 0.01, "steps": 100, "warmup": 10, "final": 0.0}
    diary, interrupted = after(13)
    told = {"device": "cpu", "session": ONE_THREAD}
    train(narrow_spec(), data, tmp_path / "b", how, weights=weights, listener=diary, interrupted=interrupted, **told)
    resumed = train(narrow_spec(), data, tmp_path / "b", TrainOptions(seed=3), resume=True, **told)
    same_state(through.checkpoint, resumed.checkpoint)
    assert read_checkpoint(resumed.checkpoint).progress == through.progress


def test_a_run_that_is_at_its_end_takes_no_step(data: Path, tmp_path: Path) -> None:
    first, diary = trained(data, tmp_path), Diary()
    again = trained(data, tmp_path, resume=True, listener=diary)
    assert (again, diary.steps, diary.events) == (first, [], [])


def test_a_run_goes_on_past_its_end(data: Path, tmp_path: Path) -> None:
    through = trained(data, tmp_path / "through", steps=30)
    trained(data, tmp_path / "longer", steps=20)
    longer = trained(data, tmp_path / "longer", steps=30, resume=True)
    same_state(through.checkpoint, longer.checkpoint)


def test_a_damaged_checkpoint_is_passed_over(data: Path, tmp_path: Path) -> None:
    through = trained(data, tmp_path / "through")
    trained(data, tmp_path / "damaged", steps=15)
    newest = tmp_path / "damaged" / "checkpoint-00000015.npz"
    newest.write_bytes(newest.read_bytes()[:-100])
    diary = Diary()
    resumed = trained(data, tmp_path / "damaged", resume=True, listener=diary, keep=1)
    told = [note for note in diary.notes if "checkpoint-" in note]
    assert ["checkpoint-00000010.npz" in note and "checkpoint-00000015.npz" in note for note in told] == [True]
    assert diary.steps[0] == 11
    same_state(through.checkpoint, resumed.checkpoint)


def test_the_log_has_no_step_twice(data: Path, tmp_path: Path) -> None:
    """A kill leaves a log that is ahead of the checkpoint."""
    through = trained(data, tmp_path / "through", eval_every=4)
    trained(data, tmp_path / "killed", eval_every=4)
    for path in sorted((tmp_path / "killed").glob("*.npz"))[-2:]:
        path.unlink()
    resumed = trained(data, tmp_path / "killed", eval_every=4, resume=True)
    assert timeless(tmp_path / "killed") == timeless(tmp_path / "through")
    assert resumed.progress == through.progress


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 9}, r"\$\.batch was 8 and is 9"),
        ({"optimizer": "sgd"}, r'\$\.optimizer was "momentum" and is "sgd"'),
        ({"seed": 4}, r"\$\.seed was 3 and is 4"),
        (
            {"schedule": PiecewiseSchedule(boundaries=(), values=(0.1,)), "steps": 24},
            r"\$\.schedule\.boundaries was \[",
        ),
        ({"augmentation": "none"}, r'\$\.augmentation was "crop-flip" and is "none"'),
        ({"freeze": ("conv1",)}, r'\$\.freeze was \[\] and is \["conv1"\]'),
        ({"spec": narrow_spec(weight_decay=0.5)}, r"\$\.spec\.weight_decay was 0\.0002 and is 0\.5"),
        ({"seed": 4, "batch": 9}, r"\$\.batch .*; \$\.seed"),
    ],
)
def test_a_run_goes_on_only_as_it_began(data: Path, tmp_path: Path, changes: Any, message: str) -> None:
    trained(data, tmp_path, steps=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(
        OptionError, match=rf"the run began with other settings: {message}.* @ .*\(give what it began with"
    ):
        trained(data, tmp_path, resume=True, **changes)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_from_before_a_field_was_in_the_language_goes_on(data: Path, tmp_path: Path) -> None:
    saved = read_checkpoint(trained(data, tmp_path, steps=1).checkpoint)
    older = json.loads(json.dumps(saved.progress.setup))
    assert older["spec"]["head"].pop("predictions") == "softmax"
    save_checkpoint(tmp_path, saved.state, replace(saved.progress, setup=older), keep=1)
    assert trained(data, tmp_path, steps=2, resume=True).progress.step == 2


def test_other_data_is_told(data: Path, tmp_path: Path) -> None:
    trained(data, tmp_path / "run", steps=1)
    other = write_cifar(tmp_path / "other", images=23)
    with pytest.raises(OptionError, match=r"\$\.data\.training\.images was 120 and is 115"):
        trained(other, tmp_path / "run", resume=True)


def test_another_test_set_is_told(data: Path, tmp_path: Path) -> None:
    """Or the best accuracy would be that of two sets."""
    trained(data, tmp_path / "run", steps=1)
    other = write_cifar(tmp_path / "other")
    records = np.fromfile(other / "test_batch.bin", np.uint8)
    records[0] = (records[0] + 1) % 10
    records.tofile(other / "test_batch.bin")
    with pytest.raises(OptionError, match=r"\$\.data\.test\.labels_sha256 was"):
        trained(other, tmp_path / "run", resume=True)


def test_a_folder_that_holds_a_run_is_not_begun_in(data: Path, tmp_path: Path) -> None:
    trained(data, tmp_path, steps=1)
    with pytest.raises(OptionError, match=r"a run already, with checkpoint-00000001\.npz .*--resume goes on with it"):
        trained(data, tmp_path)


def test_the_log_of_a_run_whose_checkpoints_are_gone_is_kept(data: Path, tmp_path: Path) -> None:
    trained(data, tmp_path, steps=10)
    before = (tmp_path / "log.jsonl").read_bytes()
    for checkpoint in tmp_path.glob("*.npz"):
        checkpoint.unlink()
    with pytest.raises(OptionError, match=r"the log of a run and no checkpoints @ .*log\.jsonl"):
        trained(data, tmp_path)
    assert (tmp_path / "log.jsonl").read_bytes() == before


def test_what_cannot_be_resumed_is_told(data: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no run to resume"):
        trained(data, tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()
    trained(data, tmp_path / "run", steps=10)
    with pytest.raises(OptionError, match="must be at least the 10 that the run has taken"):
        trained(data, tmp_path / "run", steps=9, resume=True)


def test_a_run_that_goes_on_has_its_own_weights(data: Path, tmp_path: Path) -> None:
    """So that the command that began it goes on with it."""
    other = trained(data, tmp_path / "other", steps=3)
    begun, again = {"weights": other.checkpoint, "schedule": CIFAR_SCHEDULE}, Diary()
    trained(data, tmp_path / "run", steps=10, **begun)
    done = trained(data, tmp_path / "run", steps=20, resume=True, listener=again, **begun)
    assert "the run goes on with its own weights" in again.notes
    whole = trained(data, tmp_path / "whole", steps=20, **begun)
    same_state(done.checkpoint, whole.checkpoint)


@pytest.mark.parametrize(("epochs", "steps"), [(1, 15), (2, 30)])
def test_epochs_are_rounds_through_the_images(data: Path, tmp_path: Path, epochs: int, steps: int) -> None:
    diary, interrupted = after(1)
    done = trained(data, tmp_path, steps=None, epochs=epochs, listener=diary, interrupted=interrupted)
    assert done.progress.steps == steps


def test_an_epoch_that_is_no_whole_number_of_batches_is_rounded_up(data: Path, tmp_path: Path) -> None:
    diary, interrupted = after(1)
    done = trained(data, tmp_path, steps=None, epochs=1, batch=50, listener=diary, interrupted=interrupted)
    assert done.progress.steps == 3


def test_without_a_number_the_schedule_says_where_it_ends(data: Path, tmp_path: Path) -> None:
    diary, interrupted = after(1)
    done = trained(data, tmp_path / "a", steps=None, listener=diary, interrupted=interrupted)
    assert done.progress.steps == 80_000
    endless = PiecewiseSchedule(boundaries=(), values=(0.1,))
    with pytest.raises(OptionError, match=r"no end @ steps \(give --steps or --epochs\)"):
        trained(data, tmp_path / "b", steps=None, schedule=endless)


def test_a_loss_that_is_no_number_ends_it(data: Path, tmp_path: Path) -> None:
    """A rate beyond all bounds after the sixth step spoils the variables, which the loss tells with the step after."""
    schedule = PiecewiseSchedule(boundaries=(6,), values=(0.1, 1e30))
    with pytest.raises(
        TrainingError,
        match=r"the loss is (nan|inf) at step 8 @ .*\(the last good checkpoint is .*checkpoint-00000005\.npz\)",
    ):
        trained(data, tmp_path, schedule=schedule)
    assert read_checkpoint(tmp_path / "checkpoint-00000005.npz").progress.step == 5
    assert not (tmp_path / "checkpoint-00000007.npz").exists()


@pytest.mark.parametrize("eval_every", [8, 100])
def test_variables_that_are_no_numbers_are_not_saved(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eval_every: int
) -> None:
    trained(data, tmp_path, steps=5)
    state = Recurrence.state
    spoilt = {"narrow/logits/biases": np.full(10, np.inf, np.float32)}
    monkeypatch.setattr(Recurrence, "state", lambda recurrence: {**state(recurrence), **spoilt})
    with pytest.raises(
        TrainingError, match=r"a value that is not finite @ narrow/logits/biases .*last good .*00000005\.npz"
    ):
        trained(data, tmp_path, resume=True, eval_every=eval_every)
    assert sorted(path.name for path in tmp_path.glob("*.npz"))[-1] == "checkpoint-00000005.npz"


def test_a_full_disk_leaves_the_last_checkpoint(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(data, tmp_path, steps=5)
    before = (tmp_path / "checkpoint-00000005.npz").read_bytes()
    rename = Path.replace

    def full(path: Path, target: Path) -> Path:
        if "checkpoint" in target.name:
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match=r"cannot write: No space left .*last good checkpoint is .*00000005\.npz"):
        trained(data, tmp_path, resume=True, keep=1)
    monkeypatch.undo()
    left = sorted(path.name for path in tmp_path.glob("*checkpoint*"))
    assert left == ["checkpoint-00000000.npz", "checkpoint-00000005.npz"]
    assert (tmp_path / "checkpoint-00000005.npz").read_bytes() == before


def test_fine_tuning_trains_what_is_not_frozen(data: Path, tmp_path: Path) -> None:
    trained(data, tmp_path / "first", spec=with_classes(12), num_classes=12, steps=5)
    given = read_checkpoint(tmp_path / "first" / "checkpoint-00000005.npz").state
    diary = Diary()
    tuned = trained(
        data, tmp_path / "tuned", weights=tmp_path / "first", freeze=("conv1", "block1"), steps=5, listener=diary
    )
    assert diary.notes[0].endswith("12 classes, not 10: the head gets initial values")
    state = read_checkpoint(tuned.checkpoint).state
    frozen = {name for name in state if name.startswith(("narrow/conv1/", "narrow/block1/"))}
    assert frozen
    assert all(np.array_equal(state[name], given[name]) for name in frozen)
    moved = {name for name in state if "block2" in name and not np.array_equal(state[name], given[name])}
    assert moved >= {name for name in state if "block2" in name and name.endswith("weights")}


def test_networks_that_cannot_be_trained_so_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"one row per image, got a map @ \$\.head\.global_pool"):
        trained(data, tmp_path, spec=narrow_spec(head={"num_classes": 10, "global_pool": False}))
    with pytest.raises(OptionError, match=r"must have logits to be trained @ \$\.head\.num_classes"):
        trained(data, tmp_path, spec=narrow_spec(head={"num_classes": None}))
    with pytest.raises(DataError, match="the data set has 10 classes, the network only 9"):
        trained(data, tmp_path, num_classes=9)
    assert not [*tmp_path.iterdir()]


def test_networks_that_cannot_be_evaluated_so_are_refused(data: Path, tmp_path: Path) -> None:
    spec = narrow_spec(head={"num_classes": 10, "global_pool": False})
    weights = arrays_of(compile_network(spec).graph)
    np.savez(tmp_path / "weights.npz", **weights)
    with pytest.raises(OptionError, match=r"one row per image, got a map @ \$\.head\.global_pool"):
        evaluate_run(spec, data, tmp_path / "weights.npz")


def test_an_image_that_cannot_be_read_ends_an_evaluation(tmp_path: Path) -> None:
    for number in range(10):
        write_image(tmp_path / "test" / f"{number}" / "1.png", 8, 8, number)
    broken = tmp_path / "test" / "6" / "1.png"
    broken.write_bytes(b"")
    np.savez(tmp_path / "weights.npz", **arrays_of(compile_network(narrow_spec()).graph))
    test = open_dataset(tmp_path, "test", num_classes=10)
    with pytest.raises(DataError, match=f"not an image of a known format @ {broken}"):
        evaluate(narrow_spec(), tmp_path / "weights.npz", test, batch=4)


@pytest.mark.filterwarnings("error")
def test_logits_that_are_no_numbers_are_no_accuracy(data: Path, tmp_path: Path) -> None:
    spec = narrow_spec()
    weights = {name: np.array(values) for name, values in arrays_of(compile_network(spec).graph).items()}
    # Each is a number, and their products are none.
    weights["narrow/conv1/weights"][:] = 1e30
    weights["narrow/block1/unit_1/cifar_plain/preact/gamma"][:] = 1e30
    np.savez(tmp_path / "weights.npz", **weights)
    with pytest.raises(TrainingError, match="the loss on the test set is nan @ narrow/logits"):
        evaluate_run(spec, data, tmp_path / "weights.npz")


def test_the_setup_is_json(data: Path, tmp_path: Path) -> None:
    done = trained(data, tmp_path, steps=1)
    assert json.loads(json.dumps(done.progress.setup)) == done.progress.setup
