"""Two processes on one host: what one would have made, one writer, and a clear end for both."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, NamedTuple

import processes
import pytest
import torch
from helpers import SIZE, begun, prepared, saved, write_pairs, write_photo

from lesionseg import distributed, store
from lesionseg.cli import app, console
from lesionseg.data.source import Source
from lesionseg.errors import LesionsegError
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network.checkpoint import Checkpoint
from lesionseg.training import runs, trainer
from lesionseg.training.history import EpochScores, History
from lesionseg.training.material import gather
from lesionseg.training.trainer import TrainingResult

CPU = torch.device("cpu")
PLACE = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)
STEP: dict[str, Any] = {"epochs": 1, "batch_size": 5, "learning_rate": 1e-9}
EPOCHS: dict[str, Any] = {"epochs": 2, "batch_size": 2, "learning_rate": 1e-3}
ACCURATE: dict[str, Any] = {
    "loss": "bce+dice",
    "schedule": "cosine",
    "augmentation": "full",
    "low_res_fraction": 0.5,
}
# How many photos, and the recipe. 5 photos are 3 and 2 for the two processes; of one photo, as of
# the last one of 5 in batches of 2, each takes all.
CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "a step": (5, STEP),
    "a step, augmented": (5, STEP | {"augmentation": "full"}),
    "a step without normalisation": (5, STEP | {"normalisation": "none"}),
    "a step of less than was asked for": (3, STEP | {"augmentation": "full"}),
    "a step of one photo": (1, STEP),
    "a step of one photo, augmented": (1, STEP | {"augmentation": "full"}),
    "epochs": (5, EPOCHS),
    "accurate epochs": (5, EPOCHS | ACCURATE | {"batch_size": 3}),
}
SLOW = "done"  # by process 0, a second after process 1 has done its work
STOPPED = "stopped"  # the last of the two processes' trainings, by process 1 alone
LONG = ("train", "--epochs", 5000, "--width", 1, "--image-size", SIZE, "--batch-size", 2)


def train(case: str, folder: Path, **hooks: Any) -> TrainingResult:
    """A small training, by this process or as one of several."""
    photos, recipe = CASES[case]
    start = begun(**{"width": 2, "validation_batch_size": 2} | recipe)
    training, judged = prepared(*range(photos)), prepared(5, 6, 7)
    return trainer.train(start, training, judged, folder, CPU, **hooks)


def train_all(folder: Path) -> None:
    """Every case as one of two processes, which here have folders of their own."""
    mine = folder / str(distributed.rank())
    questions = iter(range(1))

    def stops() -> bool:
        return distributed.rank() == 1 and next(questions, None) is None

    with distributed.joined(distributed.A_STEP):
        for case in CASES:
            outcome = train(case, mine / case)
            checkpoints.save(outcome.last, folder / f"{case} {distributed.rank()}.pt")
        train("epochs", mine / STOPPED, should_stop=stops)
        if distributed.rank() == 0:
            time.sleep(1)
            (folder / SLOW).touch()


class Ended(NamedTuple):
    status: int
    out: str
    err: str


def alone() -> dict[str, str]:
    """The environment of a process that is not one of several."""
    environment = {name: value for name, value in os.environ.items() if name not in PLACE}
    return environment | {"OMP_NUM_THREADS": "1"}


@contextmanager
def two(folder: Path, *words: object) -> Iterator[list[ForkServerProcess]]:
    """Two processes as a batch system starts them; what they say goes to files in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir()
    started: list[ForkServerProcess] = []
    try:
        for rank in range(2):
            place = (rank, 2, rank, 2, "127.0.0.1", port)
            environment = alone() | dict(zip(PLACE, map(str, place), strict=True))
            out, err = folder / f"{rank}.out", said(folder, rank)
            err.touch()
            started.append(processes.start(words, environment, out, err))
        yield started
    finally:
        for process in started:
            process.kill()
            process.join()


def said(folder: Path, rank: int) -> Path:
    return folder / f"{rank}.err"


def ended(folder: Path, started: list[ForkServerProcess]) -> list[Ended]:
    return [
        Ended(
            processes.status(process),
            (folder / f"{rank}.out").read_text(),
            said(folder, rank).read_text(),
        )
        for rank, process in enumerate(started)
    ]


def training(folder: Path, data: Path, run: Path, signals: Mapping[int, int]) -> list[Ended]:
    """A long training on two processes, told to end by these signals in its third epoch."""
    with two(folder, "-m", "lesionseg", *LONG, "--data", data, "-o", run) as started:
        deadline = time.monotonic() + 120
        while "epoch 2:" not in (so_far := said(folder, 0).read_text()):
            assert time.monotonic() < deadline, so_far
            assert all(process.is_alive() for process in started), so_far
            time.sleep(0.02)
        for rank, number in signals.items():
            pid = started[rank].pid
            assert pid is not None
            os.kill(pid, number)
        return ended(folder, started)


def close(one: History, other: History) -> None:
    """Whether two histories are the same up to rounding."""
    rows = ([scores.row() for scores in history] for history in (one, other))
    for epoch, expected in zip(*rows, strict=True):
        assert epoch.keys() == expected.keys()
        for name in epoch.keys() - {"seconds", "photos_per_second"}:
            # A mask of few pixels changes by whole ones.
            away = 0.02 if name in ("dice", "jaccard") else 0
            assert epoch[name] == pytest.approx(expected[name], rel=1e-3, abs=away), name


def history(folder: Path) -> History:
    text = (folder / store.HISTORY).read_text()
    return [EpochScores.of(json.loads(line)) for line in text.splitlines()]


def slopes(last: Checkpoint) -> torch.Tensor:
    """Adam's mean gradient of all weights: after one step a tenth of the gradient itself."""
    assert last.training is not None
    states = last.training["optimiser"]["state"].values()
    return torch.cat([state["exp_avg"].flatten() for state in states])


def go_on(run: Path, data: Path, tmp_path: Path) -> TrainingResult:
    """One more epoch of a run, by this process alone."""
    epochs = checkpoints.load(run / store.LAST).epoch + 1
    last = runs.resumed(run, {"epochs": epochs})
    material = gather(Source(data), SIZE, 1, lambda *_: None)
    outcome = trainer.train(last, material.training, material.validation, tmp_path / "more", CPU)
    assert [scores.epoch for scores in outcome.history] == list(range(1, epochs + 1))
    return outcome


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("data"), 1, 2, 3, 4, 5, 6)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes have trained all the cases."""
    folder = tmp_path_factory.mktemp("shared")
    with two(folder / "said", __file__, folder) as started:
        assert ended(folder / "said", started) == [Ended(0, "", "")] * 2
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one(shared: Path, tmp_path: Path, case: str) -> None:
    alone = train(case, tmp_path)
    last = checkpoints.load(shared / "0" / case / store.LAST)
    close(history(shared / "0" / case), alone.history)
    if case in ("epochs", "accurate epochs"):
        return  # where gradients are near 0, Adam's steps take their signs from the rounding
    one, other = slopes(last), slopes(alone.last)
    assert other.norm() > 1e-3
    assert (one - other).norm() < 1e-3 * other.norm()


@pytest.mark.parametrize("case", CASES)
def test_both_have_the_same_weights_and_one_writes(shared: Path, case: str) -> None:
    first, second = (checkpoints.load(shared / f"{case} {rank}.pt") for rank in range(2))
    written = checkpoints.load(shared / "0" / case / store.LAST)
    for name, value in first.weights.items():
        assert torch.equal(value, second.weights[name]), name
        assert torch.equal(value, written.weights[name]), name
    assert first.scores == second.scores
    names = {file.name for file in (shared / "0" / case).iterdir()}
    assert names >= {store.BEST, store.LAST, store.HISTORY}
    assert not (shared / "1").exists()


def test_one_that_is_asked_to_stop_stops_both(shared: Path, tmp_path: Path) -> None:
    last = runs.resumed(shared / "0" / STOPPED, {})
    assert last.training is not None
    assert (last.epoch, last.training["photos"]) == (
        0,
        2,
    )  # before the step ahead of which it was asked
    rest = trainer.train(last, prepared(*range(5)), prepared(5, 6, 7), tmp_path, CPU)
    close(rest.history, history(shared / "0" / "epochs"))


@pytest.fixture(scope="module")
def by_torchrun(tmp_path_factory: pytest.TempPathFactory, data: Path) -> tuple[Ended, Path]:
    """A training by torchrun, and the run's folder."""
    folder = tmp_path_factory.mktemp("torchrun")
    run, out, err = folder / "run", folder / "out", folder / "err"
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2)
    words = ("train", "--epochs", 2, *LONG[3:], "--data", data, "-o", run)
    process = processes.start((*torchrun, "-m", "lesionseg", "--", *words), alone(), out, err)
    return Ended(processes.status(process), out.read_text(), err.read_text()), run


def test_one_of_the_two_speaks(by_torchrun: tuple[Ended, Path]) -> None:
    ended, run = by_torchrun
    assert (ended.status, ended.out) == (0, f"{run / store.BEST}\n")
    for prefix in ("training ", "epoch 1: ", "epoch 2: ", "best: ", "next: "):
        assert ended.err.count(prefix) == 1, ended.err
    assert f"training {run} on cpu, 2 processes: " in ended.err
    assert {file.name for file in run.iterdir()} >= {store.BEST, store.LAST, store.HISTORY}


def test_by_torchrun_it_is_the_training_of_one(
    by_torchrun: tuple[Ended, Path], data: Path, tmp_path: Path
) -> None:
    _, run = by_torchrun
    last = checkpoints.load(run / store.LAST)
    assert last.command.startswith("lesionseg train --epochs 2 --width 1 ")
    start = trainer.initial_checkpoint(last.model, last.recipe, last.data)
    material = gather(Source(data), SIZE, 1, lambda *_: None)
    alone = trainer.train(start, material.training, material.validation, tmp_path / "run", CPU)
    close(history(run), alone.history)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_process_ends_the_other_with_a_line_and_a_checkpoint(
    tmp_path: Path, data: Path, lost: int
) -> None:
    both = training(tmp_path / "said", data, tmp_path / "run", {lost: signal.SIGKILL})
    left = both[1 - lost]
    assert both[lost].status == -signal.SIGKILL
    assert (left.status, left.out) == (1, "")
    messages = [
        line for line in left.err.splitlines() if not line.startswith(("epoch", "training"))
    ]
    assert messages == [
        f"process {1 - lost}: error: another of the 2 processes has ended; the run is kept in "
        f"{tmp_path / 'run'}; resume it with --resume"
    ]
    go_on(tmp_path / "run", data, tmp_path)


def test_sigterm_to_both_leaves_a_checkpoint(tmp_path: Path, data: Path) -> None:
    signals = dict.fromkeys(range(2), signal.SIGTERM)
    first, second = training(tmp_path / "said", data, tmp_path / "run", signals)
    assert (first.status, first.out) == (130, "")
    assert second == (130, "", "")
    assert "next: lesionseg train --resume --output " in first.err
    assert "Traceback" not in first.err
    go_on(tmp_path / "run", data, tmp_path)


def test_segment_shares_the_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    photos = [write_photo(tmp_path / "photos" / f"{index}.png", index) for index in range(5)]
    damaged = tmp_path / "photos" / "1a.jpg"
    damaged.write_bytes(b"no photo")
    checkpoint = saved(tmp_path / "net.pt", width=2, seed=3)

    def words(name: str) -> tuple[object, ...]:
        folder = tmp_path / name
        tables = ("--labels", folder / "labels.json", "--measurements", folder / "table.csv")
        masks = ("-o", folder / "all", *tables)
        return ("segment", tmp_path / "photos", "--checkpoint", checkpoint, "--json", *masks)

    with two(tmp_path / "said", "-m", "lesionseg", *words("two")) as started:
        both = ended(tmp_path / "said", started)
    monkeypatch.setattr(sys, "argv", ["lesionseg", *map(str, words("one"))])
    with pytest.raises(SystemExit) as alone:
        app.main()
    assert alone.value.code == 1
    assert [process.status for process in both] == [1, 1]

    masks, others = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "all").iterdir()}
        for name in ("one", "two")
    )
    records = [json.loads(files.pop("lesionseg.json")) for files in (masks, others)]
    assert [record["counts"] for record in records] == [
        {"made": len(photos), "empty": 0, "failed": 1, "skipped": 0}
    ] * 2
    assert len(masks) == len(photos)
    assert others == masks
    for name in ("labels.json", "table.csv"):
        one, other = ((tmp_path / place / name).read_text() for place in ("one", "two"))
        assert other.replace("two/all", "one/all") == one
        assert photos[-1].name in one

    def lines(out: str) -> list[dict[str, Any]]:
        results = [json.loads(line) for line in out.splitlines()]
        return [
            {name: line[name] for name in line.keys() & {"file", "quality", "error"}}
            for line in results
        ]

    expected = lines(capfd.readouterr().out)
    assert [line["file"] for line in expected] == sorted(map(str, [*photos, damaged]))
    assert [lines(process.out) for process in both] == [expected[0::2], expected[1::2]]
    error = next(line["error"] for line in expected if "error" in line)
    assert f"process 0: error: {error}" in both[0].err.splitlines()  # whose the third photo is
    assert both[0].err.splitlines()[-1] == "photos: 5 done, 1 failed, 0 skipped"
    assert both[1].err == ""


def test_none_goes_before_the_others_have_done_their_work(shared: Path) -> None:
    assert (shared / SLOW).exists()  # as each process saw when it ended, else with status 1


def test_eval_shares_the_photos(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = saved(tmp_path / "net.pt", width=2, seed=3)
    words = ("eval", "--data", data, "--split", "all", "-c", checkpoint, "--json", "--report")
    with two(tmp_path / "said", "-m", "lesionseg", *words, tmp_path / "two") as started:
        both = ended(tmp_path / "said", started)
    monkeypatch.setattr(sys, "argv", ["lesionseg", *map(str, (*words, tmp_path / "one"))])
    with pytest.raises(SystemExit) as alone:
        app.main()
    assert [process.status for process in both] == [alone.value.code, alone.value.code] == [0, 0]
    one, two_of_them = json.loads(capfd.readouterr().out), json.loads(both[0].out)
    del one["command"], two_of_them["command"]
    assert two_of_them == one
    assert both[1].out == ""
    scores = [(tmp_path / folder / "scores.csv").read_text() for folder in ("one", "two")]
    assert scores[0] == scores[1]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets which of how many processes this one is."""

    def put(**values: object) -> None:
        for name in PLACE:
            monkeypatch.delenv(name, raising=False)
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))

    put()
    return put


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, (1, 0, 0, 1)),
        ({"WORLD_SIZE": 1, "RANK": 0, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}, (1, 0, 0, 1)),
        ({"WORLD_SIZE": 6, "RANK": 4, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 3}, (6, 4, 1, 3)),
        ({"WORLD_SIZE": 2, "RANK": 1}, (2, 1, 0, 1)),
        ({"RANK": 3, "LOCAL_RANK": 3, "LOCAL_WORLD_SIZE": 4}, (1, 0, 0, 1)),  # some other's
        ({"WORLD_SIZE": "", "RANK": "first"}, (1, 0, 0, 1)),
    ],
)
def test_the_environment_says_which_process_this_is(
    place: Callable[..., None], values: dict[str, object], expected: tuple[int, ...]
) -> None:
    place(**values)
    output = (
        distributed.world_size(),
        distributed.rank(),
        distributed.local_rank(),
        distributed.local_world(),
    )
    assert output == expected


@pytest.mark.usefixtures("place")
def test_alone_nothing_happens() -> None:
    values, made = torch.ones(2), object()
    with distributed.joined(distributed.A_STEP):
        assert not torch.distributed.is_initialized()
        distributed.barrier()
        assert distributed.all_gather(made) == [made]
        assert distributed.broadcast(lambda: made) is made
        assert distributed.all_reduce(values) is values
        assert values.tolist() == [1, 1]


@pytest.mark.usefixtures("place")
def test_alone_an_error_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="closed"), distributed.joined(distributed.A_STEP):
        raise RuntimeError("Connection closed by peer")


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (
            RuntimeError(
                "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer "
                "[127.0.0.1]:14531"
            ),
            True,
        ),
        (RuntimeError("Read error [127.0.0.1]:1: Connection reset by peer"), True),
        (RuntimeError("writev [127.0.0.1]:1: Broken pipe"), True),
        (RuntimeError("Timed out waiting 1800000ms for recv operation to complete"), True),
        (torch.distributed.DistBackendError("remote process exited"), True),
        (torch.distributed.DistNetworkError("no route to host"), True),
        (torch.distributed.DistStoreError("wait timeout"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"), False),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), False),
    ],
)
def test_which_errors_say_that_a_process_is_lost(
    place: Callable[..., None], error: RuntimeError, lost: bool
) -> None:
    assert not distributed.lost(error)  # of one process none can be
    place(WORLD_SIZE=2, RANK=0)
    assert distributed.lost(error) == lost


def test_processes_that_do_not_meet(place: Callable[..., None]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and nobody listens
        port = free.getsockname()[1]
        place(WORLD_SIZE=2, RANK=1, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        with (
            pytest.raises(LesionsegError, match="of the 2 processes has ended, or cannot be rea"),
            distributed.joined(timedelta(seconds=1)),
        ):
            pytest.fail("they met")
    assert not torch.distributed.is_initialized()


def test_the_first_process_speaks_for_all(
    place: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    for rank in range(2):
        place(WORLD_SIZE=2, RANK=rank)
        console.log("all is well")
        console.warn(f"{rank} knows", every_process=True)
        console.error("all is lost")
    place()
    console.error("alone")
    assert capsys.readouterr().err.splitlines() == [
        "all is well",
        "0 knows",
        "process 0: error: all is lost",
        "1 knows",
        "process 1: error: all is lost",
        "error: alone",
    ]


@pytest.mark.parametrize(
    ("processes", "here", "workers"), [(1, 1, 8), (2, 2, 8), (8, 4, 4), (64, 32, 1)]
)
def test_processes_of_a_host_share_its_cores(processes: int, here: int, workers: int) -> None:
    code = (
        "import os; os.sched_getaffinity = lambda _: range(16); "
        "from lesionseg.cli.options import WORKERS; print(WORKERS)"
    )
    environment = alone() | {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(here)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{workers}\n"


if __name__ == "__main__":
    train_all(Path(sys.argv[1]))
    status = not (Path(sys.argv[1]) / SLOW).exists()
    os._exit(status)  # threads that torch has left behind now and then abort the usual way
