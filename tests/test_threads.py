"""Results in order, only a few ahead, and no thread left behind."""

import threading
import time
from collections.abc import Iterator

import pytest

from lesionseg.threads import map_ahead


def sleep_less(item: int) -> int:
    """The later an item, the sooner it is done."""
    time.sleep(0.001 * (8 - item % 8))
    return item * item


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_results_come_in_order(count: int, workers: int) -> None:
    results = list(map_ahead(sleep_less, range(count), workers))
    assert results == [item * item for item in range(count)]


def test_workers_run_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=5)

    def wait(item: int) -> int:
        together.wait()
        return item

    assert list(map_ahead(wait, range(6), 3)) == list(range(6))


@pytest.mark.parametrize("workers", [1, 4])
def test_only_a_few_items_are_taken_ahead(workers: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while taken < 100:
            taken += 1
            yield taken

    for received, _ in enumerate(map_ahead(lambda item: item, items(), workers)):
        assert taken <= received + 2 * workers + 1
    assert taken == 100


@pytest.mark.parametrize("failing", [0, 7, 19])
def test_an_error_comes_in_its_turn(failing: int) -> None:
    def fail(item: int) -> int:
        if item == failing:
            raise ValueError(f"item {item}")
        return item

    results = map_ahead(fail, range(20), 2)
    assert [next(results) for _ in range(failing)] == list(range(failing))
    with pytest.raises(ValueError, match=rf"^item {failing}$"):
        next(results)


def test_an_early_end_leaves_no_thread_and_starts_nothing_more() -> None:
    before = threading.active_count()
    started = []
    release = threading.Event()

    def note(item: int) -> int:
        started.append(item)
        if item:
            release.wait(5)
        return item

    results = map_ahead(note, range(100), 1)
    assert next(results) == 0
    timer = threading.Timer(0.2, release.set)  # while the second item runs, the third waits
    timer.start()
    results.close()  # type: ignore[attr-defined]
    timer.join()
    assert threading.active_count() == before
    assert started in ([0], [0, 1])
