"""Photos are read once, kept whole, and read again when they change."""

import errno
import os
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionseg import store
from lesionseg.data import cache
from lesionseg.data.cache import CachedPairs, cache_pairs
from lesionseg.data.pairs import Pair, read_pair
from lesionseg.errors import LesionsegError
from lesionseg.images.photos import read_photo
from lesionseg.images.resize import shrink

SIZE = 32


def save_pair(folder: Path, name: str, seed: int) -> Pair:
    """A photo that lies on its side, and its mask."""
    rng = np.random.default_rng(seed)
    exif = Image.Exif()
    exif[0x0112] = 6
    folder.mkdir(exist_ok=True)
    pair = Pair(name, folder / f"{name}.png", folder / f"{name}_segmentation.png")
    stored = rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(stored).save(pair.photo, exif=exif)
    Image.fromarray(rng.choice(np.array([0, 255], np.uint8), (60, 40))).save(pair.mask)
    return pair


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    return [save_pair(tmp_path / "set", name, seed) for seed, name in enumerate("abcde")]


def assert_holds(got: CachedPairs, pairs: Sequence[Pair]) -> None:
    """The arrays are those of the pairs, in their order."""
    assert got.ids == tuple(pair.id for pair in pairs)
    assert len(got) == len(pairs)
    assert got.photos.dtype == got.masks.dtype == np.uint8
    assert got.photos.shape == (len(pairs), SIZE, SIZE, 3)
    assert got.masks.shape == (len(pairs), SIZE, SIZE)
    for row, pair in enumerate(pairs):
        photo, mask = read_pair(pair, SIZE)
        assert (got.photos[row] == photo).all()
        assert (got.masks[row] == mask).all()


def entries() -> list[str]:
    """What stands in the folder of prepared arrays; unfinished ones begin with a dot."""
    folder = store.pair_cache_dir()
    return [path.name for path in folder.iterdir()] if folder.exists() else []


@pytest.mark.parametrize("workers", [1, 4])
def test_the_arrays_are_those_of_the_pairs(pairs: list[Pair], workers: int) -> None:
    seen: list[tuple[int, int]] = []
    got = cache_pairs(pairs, SIZE, workers, lambda done, total: seen.append((done, total)))
    assert_holds(got, pairs)
    assert got.problems == ()
    assert got.masks.max() == 1
    assert seen == [(done, 5) for done in range(1, 6)]
    upright = shrink(read_photo(pairs[0].photo), SIZE)
    assert (got.photos[0] == upright).all()


def test_photos_are_read_once(pairs: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    first = cache_pairs(pairs, SIZE)
    monkeypatch.setattr(cache, "read_pair", lambda *_: pytest.fail("read again"))
    again = cache_pairs(pairs, SIZE)
    assert_holds(again, pairs)
    assert again.fingerprint == first.fingerprint
    assert len(entries()) == 1


@pytest.mark.parametrize("which", ["photo", "mask"])
def test_a_changed_file_is_read_again(pairs: list[Pair], which: str) -> None:
    first = cache_pairs(pairs, SIZE)
    held = first.photos.copy()
    other = save_pair(pairs[0].photo.parent.parent / "other", "a", seed=99)
    getattr(other, which).replace(getattr(pairs[0], which))
    second = cache_pairs(pairs, SIZE)
    assert_holds(second, pairs)
    assert second.fingerprint != first.fingerprint
    assert len(entries()) == 1
    assert (first.photos == held).all()  # a run that began before goes on with what it had


def test_a_file_touched_is_read_again_and_found_the_same(pairs: list[Pair]) -> None:
    first = cache_pairs(pairs, SIZE)
    os.utime(pairs[0].photo, (1, 1))
    seen: list[int] = []
    second = cache_pairs(pairs, SIZE, on_photo=lambda done, _: seen.append(done))
    assert seen
    assert second.fingerprint == first.fingerprint


def test_other_pairs_and_sizes_are_kept_beside(pairs: list[Pair]) -> None:
    prints = {cache_pairs(part, SIZE).fingerprint for part in (pairs, pairs[1:], pairs[::-1])}
    prints.add(cache_pairs(pairs, 2 * SIZE).fingerprint)
    assert len(prints) == len(entries()) == 4


def test_equal_content_has_an_equal_fingerprint(tmp_path: Path, pairs: list[Pair]) -> None:
    first = cache_pairs(pairs, SIZE).fingerprint
    copies = [save_pair(tmp_path / "copy", name, seed) for seed, name in enumerate("abcde")]
    assert cache_pairs(copies, SIZE).fingerprint == first
    renamed = [save_pair(tmp_path / "names", name, seed) for seed, name in enumerate("abcdx")]
    assert cache_pairs(renamed, SIZE).fingerprint != first


def test_what_cannot_be_used_is_left_out_and_named(pairs: list[Pair]) -> None:
    pairs[0].photo.write_text("no photo")
    pairs[2].mask.unlink()
    Image.new("L", (40, 61)).save(pairs[4].mask)
    got = cache_pairs(pairs, SIZE, workers=2)
    assert_holds(got, [pairs[1], pairs[3]])
    assert [problem.split(": ")[0] for problem in got.problems] == [
        str(path) for path in (pairs[0].photo, pairs[2].mask, pairs[4].mask)
    ]
    assert cache_pairs(pairs, SIZE).problems == got.problems


def test_nothing_that_can_be_used(pairs: list[Pair]) -> None:
    for pair in pairs:
        pair.photo.write_text("no photo")
    with pytest.raises(
        LesionsegError, match=r"^none of 5 pairs can be used; the first error: .*a\.png"
    ):
        cache_pairs(pairs, SIZE)
    assert entries() == []


def test_several_at_once_all_get_the_arrays(pairs: list[Pair]) -> None:
    start = threading.Barrier(4)

    def one() -> CachedPairs:
        start.wait()
        return cache_pairs(pairs, SIZE)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(one) for _ in range(4)]:
            assert_holds(future.result(), pairs)
    assert len(entries()) == 1


def test_another_process_may_be_first(pairs: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def beaten(source: Path, target: Path) -> Path:
        shutil.copytree(source, target)
        return rename(source, target)  # refused, since the target is not empty

    monkeypatch.setattr(Path, "rename", beaten)
    assert_holds(cache_pairs(pairs, SIZE), pairs)
    assert len(entries()) == 1


@pytest.mark.parametrize("before", [False, True])
def test_an_interruption_leaves_nothing_unfinished(pairs: list[Pair], before: bool) -> None:
    if before:  # arrays that are out of date
        cache_pairs(pairs, SIZE)
        os.utime(pairs[0].photo, (1, 1))

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache_pairs(pairs, SIZE, on_photo=interrupt)
    assert len(entries()) == before
    assert_holds(cache_pairs(pairs, SIZE), pairs)


@pytest.mark.parametrize("damage", ["index.json", "photos", "masks"])
@pytest.mark.parametrize("cut", [True, False])
def test_damaged_arrays_are_made_again(pairs: list[Pair], damage: str, cut: bool) -> None:
    cache_pairs(pairs, SIZE)
    (file,) = store.pair_cache_dir().glob(f"*/{damage}")
    if cut:
        os.truncate(file, file.stat().st_size // 2)
    else:
        file.unlink()
    assert_holds(cache_pairs(pairs, SIZE), pairs)


def test_a_full_disk(pairs: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(LesionsegError, match=r": No space left on device; free some space there"):
        cache_pairs(pairs, SIZE)
    assert entries() == []


def test_a_file_replaced_with_its_size_and_time_is_read_again(pairs: list[Pair]) -> None:
    """As `unzip`, `rsync -a` and `cp -p` leave them."""
    before = cache_pairs(pairs, 32)
    path = pairs[0].mask
    status = path.stat()
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path, "BMP")
    changed = path.read_bytes()
    path.write_bytes(changed[: status.st_size].ljust(status.st_size, b"\0"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert cache_pairs(pairs, 32).fingerprint != before.fingerprint
