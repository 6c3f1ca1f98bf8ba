"""Training and scoring from Python."""

from pathlib import Path

import pytest
from helpers import SIZE, saved, write_pairs

import lesionseg


def test_train_and_evaluate(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", *range(6))
    initial = saved(tmp_path / "a.pt", width=2, seed=3)
    run = lesionseg.train(data, initial=initial, epochs=1, output=tmp_path / "run", device="cpu")
    assert (run.checkpoint, len(run.history)) == (tmp_path / "run" / "best.pt", 1)
    assert lesionseg.load(run.checkpoint).checkpoint.parent is not None
    scored = lesionseg.evaluate(data, run.checkpoint, device="cpu")
    assert (len(scored.scores), scored.data.split, scored.notes) == (1, "val", [])
    everything = lesionseg.evaluate(data, run.checkpoint, split="all", device="cpu")
    assert len(everything.scores) == 6
    with pytest.raises(TypeError):
        lesionseg.train(data, colour="red")
    with pytest.raises(lesionseg.LesionsegError, match="epochs: expected 1 to"):
        lesionseg.train(data, epochs=0)


def test_folds_are_scored_as_one(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", *range(4))
    runs = [
        lesionseg.train(
            data, fold=f"{k}/2", output=tmp_path / str(k), epochs=1, width=1, image_size=SIZE
        )
        for k in (1, 2)
    ]
    scored = lesionseg.evaluate(data, [run.checkpoint for run in runs])
    assert (len(scored.scores), scored.data.split) == (4, "out-of-fold")
