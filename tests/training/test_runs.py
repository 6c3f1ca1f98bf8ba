"""What a run is made on, and what one may change when it goes on."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import DATA, SIZE, begun, drawing, write_mask, write_pairs, write_photo

import lesionseg
from lesionseg.config import Recipe
from lesionseg.data.colours import ColourChoice
from lesionseg.data.source import Source
from lesionseg.data.splits import Fold
from lesionseg.errors import CheckpointError, LesionsegError
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network.checkpoint import Checkpoint
from lesionseg.network.provenance import Parent
from lesionseg.network.runtime import checksum
from lesionseg.training import runs
from lesionseg.training.history import EpochScores
from lesionseg.training.material import Material, gather
from lesionseg.training.runs import InitialWeights, Run
from lesionseg.training.trainer import TrainingResult


def gathered(source: Source) -> tuple[Material, list[tuple[int, int]]]:
    calls: list[tuple[int, int]] = []
    material = gather(source, SIZE, 2, lambda done, total: calls.append((done, total)))
    return material, calls


def test_masks_that_look_wrong_are_noted(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "mine", *range(10))
    assert gathered(Source(folder))[0].notes == ()
    for index, wrong in ((1, np.zeros_like), (2, np.ones_like), (3, np.logical_not)):
        mask = folder / "masks" / f"ISIC_{index:07d}_segmentation.png"
        write_mask(mask, wrong(drawing(index)[1]))
    assert gathered(Source(folder))[0].notes == (
        "1 of 10 masks are empty: ISIC_0000001; 'lesionseg check' lists them",
        "1 of 10 masks are full (lesion over 99 %): ISIC_0000002; 'lesionseg check' lists them",
        "1 of 10 masks may be inverted (lesion along over 90 % of the frame): ISIC_0000003; "
        "'lesionseg check' lists them",
    )


def test_photos_with_masks_are_not_taken_as_unlabelled(tmp_path: Path) -> None:
    folder, added = write_pairs(tmp_path / "mine", *range(10)), tmp_path / "added"
    source = Source(folder, unlabelled=added)
    added.mkdir()
    with pytest.raises(LesionsegError, match=r"expected photos without masks, found none"):
        gathered(source)
    write_photo(added / "isic_0000003.png", 3)
    with pytest.raises(LesionsegError, match=r"added: every photo in it \(1\) has the name of one"):
        gathered(source)
    write_photo(added / "new.png", 20)
    write_photo(added / "new_segmentation.png", 21)
    material, _ = gathered(source)
    trained = material.training.ids
    assert (len(trained), "new" in trained, "isic_0000003" in trained) == (10, True, False)
    assert material.notes == (
        "1 photo without masks: only the teachers' masks are learned on these",
        f"{added}: 1 photo left out, with the name of a photo that has a mask in the data",
    )


def test_what_a_checkpoint_will_say_of_its_data(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "mine", *range(10))
    material, calls = gathered(Source(folder))
    data = material.data
    assert (data.name, data.folder) == ("mine", str(folder))
    assert (data.photos_folder, data.truth_folder, data.synthetic, data.licence) == (
        "",
        "",
        False,
        "",
    )
    assert (len(data.train_ids), len(data.val_ids)) == (9, 1)
    assert {*data.train_ids, *data.val_ids} == {f"ISIC_{index:07d}" for index in range(10)}
    assert data.train_ids == material.training.ids
    assert data.val_ids == material.validation.ids
    assert material.training.photos.shape == (9, SIZE, SIZE, 3)
    assert material.problems == ()
    assert calls == [(done, 10) for done in range(1, 11)]


def test_the_source_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_pairs(tmp_path / "mine", 0, 1)
    (tmp_path / "more").mkdir()
    monkeypatch.chdir(tmp_path)
    for source in (
        Source(Path("mine")),
        Source(None, (Path("mine/images"),), Path("mine/masks")),
        Source(Path("mine"), (Path("mine/images"),), Path("mine/masks")),
        Source(None, (Path("mine/images"), Path("more")), Path("mine/masks")),
        Source(Path("mine"), colours=ColourChoice(("#ffffff",))),
    ):
        first = gathered(source)[0].data
        monkeypatch.chdir(folder)
        again = first.source()
        assert again is not None
        assert (again.categories, again.colours) == (source.categories, source.colours)
        assert gathered(again)[0].data == first
        monkeypatch.chdir(tmp_path)


def test_a_checkpoint_may_not_say_where_its_data_were() -> None:
    assert DATA.source() is None
    names = ("folder", "photos_folder", "truth_folder")
    fields: list[dict[str, Any]] = [{name: "x"} for name in names]
    sources = [dataclasses.replace(DATA, **values).source() for values in fields]
    x = Path("x")
    assert sources == [Source(x), Source(None, (x,)), Source(None, (), x)]


def test_the_same_data_are_read_as_the_run_read_them(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "mine", 0, 1)
    photos, masks = folder / "images", folder / "masks"
    data = dataclasses.replace(DATA, folder=str(folder), categories=("nevus",))
    assert Source(folder).choosing_as(data.source()).categories == frozenset({"nevus"})
    assert Source(photos / "..").choosing_as(data.source()).categories == frozenset({"nevus"})
    mine = Source(folder, categories=frozenset({"melanoma"}))
    assert mine.choosing_as(data.source()) == mine
    assert Source(photos).choosing_as(data.source()) == Source(photos)
    assert Source(folder).choosing_as(DATA.source()) == Source(folder)
    two = dataclasses.replace(
        data, folder="", photos_folder=str(photos), truth_folder=str(masks), lesion_labels=("a",)
    )
    chosen = Source(None, (photos,), masks).choosing_as(two.source())
    assert (chosen.categories, chosen.colours) == (
        frozenset({"nevus"}),
        ColourChoice(labels=("a",)),
    )
    more = Source(None, (photos, tmp_path), masks)
    assert more.choosing_as(two.source()) == more


def test_problems_of_every_kind_are_told(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path, *range(5))
    (folder / "train.txt").write_text("ISIC_0000000\nISIC_0000001\nISIC_0000002")
    (folder / "val.txt").write_text("ISIC_0000003\nISIC_0000004")
    (folder / "images" / "alone.png").touch()
    (folder / "images" / "ISIC_0000001.png").write_text("no photo")
    write_mask(folder / "masks" / "ISIC_0000003_segmentation.png", drawing(3)[1][1:])
    material, calls = gathered(Source(folder))
    said = ("alone.png: no mask", "0000001.png: not a photo", "0000003_segmentation.png: expected")
    assert all(words in problem for words, problem in zip(said, material.problems, strict=True))
    assert (material.training.ids, material.validation.ids) == (
        ("ISIC_0000000", "ISIC_0000002"),
        ("ISIC_0000004",),
    )
    assert calls[-1] == (5, 5)


def test_the_fingerprint_is_of_both_parts(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path, 0, 1)
    (folder / "val.txt").write_text("ISIC_0000001")
    before = gathered(Source(folder))[0].data.fingerprint
    for index in (0, 1):
        mask = ~drawing(index)[1]
        write_mask(folder / "masks" / f"ISIC_{index:07d}_segmentation.png", mask)
        after = gathered(Source(folder))[0].data.fingerprint
        assert after != before
        before = after


def scores(epoch: int, dice: float) -> EpochScores:
    return EpochScores(epoch, SIZE, 0.1, 1.0, 1.0, dice, dice / 2, 1, 1.0, 1.0)


def saved_run(folder: Path, **changes: Any) -> Checkpoint:
    """A run's folder after two of three epochs."""
    start = begun(epochs=3, seed=4)
    left: dict[str, Any] = {"epoch": 2, "training": {"best": 0.5}}
    last = dataclasses.replace(start, **left | changes)
    checkpoints.save(last, folder / "last.pt")
    return last


def test_nothing_given_changes_nothing(tmp_path: Path) -> None:
    before = saved_run(tmp_path)
    after = runs.resumed(tmp_path, {})
    assert (after.model, after.recipe, after.data) == (before.model, before.recipe, before.data)
    assert (after.epoch, after.training) == (2, {"best": 0.5})


def test_the_same_may_be_said_again_and_epochs_may_change(tmp_path: Path) -> None:
    before = saved_run(tmp_path)
    options = {"seed": 4, "width": 1, "image_size": 32, "name": "classic"}
    changed = {"epochs": 7, "validation_batch_size": 1}
    after = runs.resumed(tmp_path, options | changed)
    assert after.recipe == dataclasses.replace(before.recipe, epochs=7, validation_batch_size=1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 5}, "was started with seed 4, got 5"),
        ({"image_size": 64}, "was started with image size 32, got 64"),
        ({"width": 2}, "was started with width 1, got 2"),
        ({"learning_rate": 0.1, "epochs": 9}, "was started with learning rate 0.0001, got 0.1"),
        ({"precision": "bfloat16"}, "was started with precision float32, got bfloat16"),
        (
            {"epochs": 2},
            r"has finished its 2 epochs; to continue, ask for more, such as --epochs 7",
        ),
        ({"epochs": 1}, "has finished its 2 epochs"),
    ],
)
def test_what_a_run_may_not_change(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    saved_run(tmp_path)
    with pytest.raises(LesionsegError) as caught:
        runs.resumed(tmp_path, options)
    assert f"{tmp_path.name} " in str(caught.value)
    assert said in str(caught.value)


def test_a_run_out_of_patience_ends_until_given_more(tmp_path: Path) -> None:
    dices = (0.5, 0.4, 0.3)
    rows = [scores(epoch, dice).row() for epoch, dice in enumerate(dices, start=1)]
    saved_run(tmp_path, epoch=3, training={"history": rows}, recipe=Recipe(epochs=9, patience=2))
    said = f"{tmp_path.name} ended after epoch 3: .* for 2 epochs; .* --patience 7"
    with pytest.raises(LesionsegError, match=said):
        runs.resumed(tmp_path, {})
    assert runs.resumed(tmp_path, {"patience": 3}).recipe.patience == 3
    assert runs.resumed(tmp_path, {"patience": 0}).recipe.patience == 0


def test_a_run_starts_from_given_weights_and_names_their_checkpoint(tmp_path: Path) -> None:
    trained = dataclasses.replace(begun(2, seed=3), epoch=4)
    checkpoints.save(trained, tmp_path / "a.pt")
    shape, initial = InitialWeights.load(str(tmp_path / "a.pt"))
    material, _ = gathered(Source(write_pairs(tmp_path / "mine", *range(4))))
    run = Run.new(shape, Recipe(seed=7), Source(tmp_path), tmp_path / "b", None, initial)
    start = run.start(material, "lesionseg t")
    assert (start.model, start.epoch, start.data) == (trained.model, 0, material.data)
    assert all(torch.equal(value, trained.weights[name]) for name, value in start.weights.items())
    assert start.parent == Parent(str(tmp_path / "a.pt"), checksum(tmp_path / "a.pt"), DATA)
    checkpoints.save(start, tmp_path / "b" / "best.pt")
    assert checkpoints.load(tmp_path / "b" / "best.pt").parent == start.parent
    _, again = InitialWeights.load(str(tmp_path / "b"))
    assert again.parent.parent == start.parent  # a chain


def test_a_threshold_that_is_not_kept_is_noted(tmp_path: Path) -> None:
    data, trained = write_pairs(tmp_path / "mine", *range(4)), begun(2, seed=3)
    for threshold, count in ((0.5, 0), (0.35, 1)):
        path = tmp_path / f"{threshold}.pt"
        checkpoints.save(dataclasses.replace(trained, threshold=threshold), path)
        ended = lesionseg.train(
            data, initial=path, epochs=1, output=tmp_path / f"run{threshold}", device="cpu"
        )
        notes = [note for note in ended.notes if "threshold" in note]
        assert len(notes) == count
        assert checkpoints.load(ended.checkpoint).threshold == 0.5
    assert notes[0].startswith(f"the threshold 0.35 of {path} is not kept, ")
    assert "the new checkpoints have 0.5, at which they are validated" in notes[0]


def test_a_run_that_is_worse_than_what_it_started_from_says_so() -> None:
    start = dataclasses.replace(begun(epochs=2), parent=Parent("a.pt", "0", DATA), epoch=2)
    history = [scores(1, 0.5), scores(2, 0.4)]
    for last, initial, count in ((start, 0.6, 1), (start, 0.5, 0), (start, None, 0)):
        notes = runs.notes_after(TrainingResult(last, history, False, initial))
        assert len(notes) == count
    (note,) = runs.notes_after(TrainingResult(start, history, False, 0.6))
    assert "Dice 0.5000, theirs 0.6000 on the same" in note
    assert note.endswith("validation photos; keep a.pt, or try a lower --learning-rate")


def test_a_finished_run_and_one_that_cannot_go_on(tmp_path: Path) -> None:
    before = saved_run(tmp_path / "done", epoch=3)
    with pytest.raises(LesionsegError, match="done has finished its 3 epochs"):
        runs.resumed(tmp_path / "done", {})
    assert runs.resumed(tmp_path / "done", {"epochs": 4}).recipe.epochs == 4
    saved_run(tmp_path / "averaged", training={"best": 0.5, "weights": before.weights})
    with pytest.raises(
        CheckpointError, match="averaged was started by an earlier lesionseg, whose"
    ):
        runs.resumed(tmp_path / "averaged", {})
    saved_run(tmp_path / "used", training=None)
    with pytest.raises(CheckpointError, match="cannot be resumed"):
        runs.resumed(tmp_path / "used", {})
    with pytest.raises(CheckpointError, match="cannot read checkpoint"):
        runs.resumed(tmp_path / "none", {})


def test_a_picture_on_both_sides_of_the_split_is_said(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "mine", *range(6))
    material, _ = gathered(Source(folder))
    assert material.notes == ()
    held_out = material.validation.ids[0]
    for path in [*folder.rglob(f"{held_out}*")]:
        shutil.copy(path, path.with_name(path.name.replace(held_out, "copy")))
    (folder / "val.txt").write_text(held_out)
    material, _ = gathered(Source(folder))
    (note,) = material.notes
    assert note.startswith("1 of 1 validation photo also in training, under another name: ")
    assert f"{held_out} is copy" in note


def test_a_run_is_resumed_where_its_data_were_moved_to(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "old", *range(6))
    ids = sorted(path.stem for path in (folder / "images").iterdir())
    rows = [f"{name},{index // 2}" for index, name in enumerate(ids)]
    groups = folder / "patients.csv"
    groups.write_text("\n".join(["id,patient", *rows]))
    write_photo(folder / "more" / "new.png", 20)
    source = Source(folder, (), None, groups, Fold(2, 3), unlabelled=folder / "more")
    material, _ = gathered(source)
    saved_run(tmp_path / "run", data=material.data, recipe=Recipe(epochs=9))
    moved = folder.rename(tmp_path / "new")
    run = Run.resume({}, Source(moved), tmp_path / "run")
    assert run.source == Source(
        moved, (), None, moved / "patients.csv", Fold(2, 3), unlabelled=moved / "more"
    )
    assert gathered(run.source)[0].data.fingerprint == material.data.fingerprint
    (moved / "patients.csv").unlink()
    with pytest.raises(LesionsegError, match=r"patients\.csv: --groups of run was this, and it is"):
        Run.resume({}, Source(moved), tmp_path / "run")
    groups_elsewhere = dataclasses.replace(material.data, groups_file=str(tmp_path / "gone.csv"))
    saved_run(tmp_path / "other", data=groups_elsewhere, recipe=Recipe(epochs=9))
    with pytest.raises(LesionsegError, match=r"gone\.csv: --groups of other was this, and it is"):
        Run.resume({}, None, tmp_path / "other")


def test_the_lesion_is_what_it_was_where_the_data_were_moved_to(tmp_path: Path) -> None:
    data = dataclasses.replace(DATA, folder=str(tmp_path / "old"), categories=("nevus",))
    saved_run(tmp_path / "run", data=data)
    run = Run.resume({"epochs": 9}, Source(tmp_path), tmp_path / "run")
    assert run.source == Source(tmp_path, categories=frozenset({"nevus"}))
    assert run.notes == ("lesion: --category nevus, as in training",)
    chosen = Source(tmp_path, colours=ColourChoice(labels=("a",)))
    assert Run.resume({"epochs": 9}, chosen, tmp_path / "run").source == chosen
