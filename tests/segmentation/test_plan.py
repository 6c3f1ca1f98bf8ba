"""Which photo becomes which files, and what is refused before anything is written."""

import os
from pathlib import Path

import pytest
from helpers import drawing, write_mask, write_photo

from lesionseg.errors import LesionsegError
from lesionseg.segmentation.plan import Job, OutputPaths, plan_jobs


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with photos, other files, and folders of both."""
    folder = tmp_path / "here"
    for name in ("a.png", "b.jpg", "photos/x.png", "photos/y.jpg", "others/x.jpg"):
        write_photo(folder / name)
    write_mask(folder / "photos" / "x_segmentation.png", drawing(0)[1])
    (folder / "photos" / "notes.txt").touch()
    (folder / "out").mkdir()
    (folder / "empty").mkdir()
    monkeypatch.chdir(folder)
    return folder


def plan(inputs: str, mask: str, overlay: str = "", probabilities: str = "") -> list[Job]:
    """Plan jobs for inputs that are separated by spaces."""
    others = (Path(name) if name else None for name in (overlay, probabilities))
    return plan_jobs([Path(name) for name in inputs.split()], OutputPaths(Path(mask), *others))


def masks(jobs: list[Job]) -> list[tuple[str, str]]:
    return [(job.photo.as_posix(), job.paths.mask.as_posix()) for job in jobs]


@pytest.mark.parametrize(
    ("names", "mask", "expected"),
    [
        ("a.png", "mask.png", [("a.png", "mask.png")]),
        ("a.png", "new/mask.PNG", [("a.png", "new/mask.PNG")]),
        ("a.png", "out", [("a.png", "out/a_segmentation.png")]),
        ("a.png", "new", [("a.png", "new/a_segmentation.png")]),
        ("a.png", ".", [("a.png", "a_segmentation.png")]),
        ("a.png", "/dev/null", [("a.png", "/dev/null")]),
        ("a.png", "-", [("a.png", "-")]),
        ("-", "-", [("-", "-")]),
        ("-", "mask.png", [("-", "mask.png")]),
        ("missing.jpg", "mask.png", [("missing.jpg", "mask.png")]),
        (
            "b.jpg missing.jpg a.png",
            "new.d",
            [
                ("b.jpg", "new.d/b_segmentation.png"),
                ("missing.jpg", "new.d/missing_segmentation.png"),
                ("a.png", "new.d/a_segmentation.png"),
            ],
        ),
        (
            "photos",
            "out",
            [
                ("photos/x.png", "out/x_segmentation.png"),
                ("photos/y.jpg", "out/y_segmentation.png"),
            ],
        ),
        ("a.png photos/x_segmentation.png", "out", None),
    ],
)
def test_which_mask_a_photo_gives(
    names: str, mask: str, expected: list[tuple[str, str]] | None
) -> None:
    if expected is None:  # a file that is named is taken, whatever its name is
        expected = [(name, f"out/{Path(name).stem}_segmentation.png") for name in names.split()]
    assert masks(plan(names, mask)) == expected


def test_results_in_a_folder_are_not_taken_for_photos(here: Path) -> None:
    for name in ("x_segmentation.png", "x_overlay.png", "x_probabilities.png"):
        (here / "photos" / name).touch()
    planned = plan_jobs([Path("photos")], OutputPaths(Path("photos")), skip_existing=True)
    assert [job.photo.name for job in planned] == ["x.png", "y.jpg"]


@pytest.mark.parametrize(
    ("photos", "masks"),
    [("set", "set"), ("set/images", "set/masks"), ("set/A_Input", "set/A_GroundTruth")],
)
def test_what_may_be_the_truth_is_not_replaced(here: Path, photos: str, masks: str) -> None:
    write_photo(here / photos / "p.png")
    assert plan(photos, masks)  # nothing is there yet
    truth = here / masks / "p_segmentation.png"
    truth.parent.mkdir(exist_ok=True)
    truth.write_bytes(b"a mask")
    with pytest.raises(LesionsegError, match="may be ground truth; nothing was written"):
        plan(photos, masks)
    paths = OutputPaths(Path(masks))
    assert all(job.done for job in plan_jobs([Path(photos)], paths, skip_existing=True))
    assert plan(f"{photos}/p.png", "set/p_segmentation.png")  # named by a person


def test_overlays_and_probabilities_lie_beside() -> None:
    (job,) = plan("a.png", "mask.png", "overlay.png", "probabilities.png")
    assert job.paths == OutputPaths(
        Path("mask.png"), Path("overlay.png"), Path("probabilities.png")
    )
    (job,) = plan("a.png", "mask.png", "out", "new")
    assert job.paths == OutputPaths(
        Path("mask.png"), Path("out/a_overlay.png"), Path("new/a_probabilities.png")
    )
    first, second = plan("a.png b.jpg", "out", "lines")
    assert first.paths == OutputPaths(Path("out/a_segmentation.png"), Path("lines/a_overlay.png"))
    assert second.paths == OutputPaths(Path("out/b_segmentation.png"), Path("lines/b_overlay.png"))


@pytest.mark.parametrize(
    ("names", "mask", "overlay", "said"),
    [
        ("empty", "out", "", "empty: no photos in this folder"),
        ("photos others", "out", "", "photos/x.png and others/x.jpg would both give out/x_seg"),
        ("a.png a.png", "out", "", "a_segmentation.png would be written twice"),
        ("a.png", "same.png", "same.png", "same.png would be written twice"),
        ("a.png", "a.png", "", "a.png is an input; nothing was written"),
        ("a.png", "../here/a.png", "", "a.png is an input"),
        ("a.png", "mask.png", "a.png", "a.png is an input"),
        ("photos/x.png photos/x_segmentation.png", "photos", "", "x_segmentation.png is an input"),
        ("a.png", "mask.jpg", "", "mask.jpg: results are PNG files; name it mask.png"),
        ("a.png", "mask.png", "lines.jpg", "lines.jpg: results are PNG files"),
        ("- a.png", "out", "", "standard input is a single photo"),
        ("-", "out", "", "standard input is a single photo"),
        ("a.png b.jpg", "mask.png", "", "mask.png: expected a folder"),
        ("photos", "out", "b.jpg", "b.jpg: expected a folder"),
        ("a.png b.jpg", "-", "", "standard output takes a single mask"),
        ("photos", "-", "", "standard output takes a single mask"),
        ("a.png", "mask.png", "-", "standard output is for the mask"),
        ("a.png", "-", "-", "standard output is for the mask"),
        ("a.png", "b" * 300 + ".png", "", "File name too long"),
    ],
)
def test_what_is_refused_before_anything_is_written(
    here: Path, names: str, mask: str, overlay: str, said: str
) -> None:
    before = sorted(here.rglob("*"))
    with pytest.raises(LesionsegError) as caught:
        plan(names, mask, overlay)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(here.rglob("*")) == before


def test_an_input_that_cannot_be_used_fails_alone(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "a" * 300
    jobs = plan(f"empty {long} a.png missing.jpg", "out")
    assert [job.photo.name for job in jobs] == ["empty", long, "a.png", "missing.jpg"]
    assert [str(job.error)[:25] for job in jobs if job.error] == ["empty: no photos in this "]
    assert not any(job.done for job in jobs)

    is_dir = Path.is_dir

    def refuse(path: Path) -> bool:
        if path.parts[0] == "secret":  # a folder that may not be entered
            raise PermissionError(13, "Permission denied", str(path))
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", refuse)
    assert [job.error for job in plan("secret/a.png b.jpg", "out")] == [None, None]


def test_links_are_followed_to_the_input(here: Path) -> None:
    (here / "link.png").symlink_to("a.png")
    with pytest.raises(LesionsegError, match=r"link\.png is an input"):
        plan("a.png", "link.png")
    with pytest.raises(LesionsegError, match=r"a\.png is an input"):
        plan("link.png", "a.png")


def test_a_link_to_itself_is_only_a_bad_photo(here: Path) -> None:
    (here / "loop.png").symlink_to("loop.png")
    assert len(plan("loop.png", "mask.png")) == 1


def test_folders_below_are_looked_into_once(here: Path) -> None:
    write_photo(here / "photos" / "b" / "deep" / "c.png")
    write_photo(here / "elsewhere" / "deep" / "d.png")
    (here / "photos" / "a").symlink_to("b")
    (here / "photos" / "b" / "up").symlink_to("..")
    (here / "photos" / "b" / "self").symlink_to(".")
    (here / "photos" / "b" / "root").symlink_to("/")
    (here / "photos" / "e").symlink_to(here / "elsewhere")
    planned = plan_jobs([Path("photos")], OutputPaths(Path("out")), recursive=True)
    assert masks(planned) == [
        ("photos/x.png", "out/x_segmentation.png"),
        ("photos/y.jpg", "out/y_segmentation.png"),
        ("photos/b/deep/c.png", "out/b/deep/c_segmentation.png"),
        ("photos/e/deep/d.png", "out/e/deep/d_segmentation.png"),
    ]


def test_a_folder_below_that_cannot_be_read_fails_alone(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photo(here / "photos" / "closed" / "c.png")
    scandir, iterdir = os.scandir, Path.iterdir

    def opened(path: Path | str) -> Path | str:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return path

    monkeypatch.setattr(os, "scandir", lambda path: scandir(opened(path)))
    monkeypatch.setattr(Path, "iterdir", lambda path: iterdir(Path(opened(path))))
    planned = plan_jobs([Path("photos")], OutputPaths(Path("out")), recursive=True)
    errors = {str(job.photo): str(job.error) for job in planned if job.error}
    assert errors == {"photos/closed": "cannot read folder photos/closed: Permission denied"}
    assert len(planned) == 3


def test_done(here: Path) -> None:
    (job,) = plan("a.png", "mask.png", "overlay.png")
    assert not job.done
    (here / "mask.png").write_bytes(b"a mask")
    assert not job.done
    (here / "overlay.png").touch()
    assert not job.done  # all that a failing machine or network drive may leave of a file
    (here / "overlay.png").write_bytes(b"an overlay")
    assert job.done
    (here / "mask.png").unlink()
    (here / "mask.png").mkdir()
    assert not job.done
    assert not plan("a.png", "-")[0].done
