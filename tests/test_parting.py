"""Several processes part when all have done their work: torchrun ends all where one has failed."""

from pathlib import Path

from test_distributed import Ended, ended, two

SLOW_FIRST = """
import sys, time
from datetime import timedelta
from pathlib import Path
from lesionseg import distributed

with distributed.joined(timedelta(minutes=1)):
    if distributed.rank() == 0:
        time.sleep(1)
        Path(sys.argv[1]).touch()
sys.exit(not Path(sys.argv[1]).exists())
"""


def test_none_goes_before_the_others_have_done_their_work(tmp_path: Path) -> None:
    with two(tmp_path / "said", "-c", SLOW_FIRST, tmp_path / "file") as started:
        assert ended(tmp_path / "said", started) == [Ended(0, "", "")] * 2
