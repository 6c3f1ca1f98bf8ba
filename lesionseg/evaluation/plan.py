"""What is scored on which photos: from what a user asks for to the scores."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lesionseg import files
from lesionseg.data.discovery import Dataset
from lesionseg.data.source import Source, inherit
from lesionseg.errors import UsageError
from lesionseg.evaluation import candidates
from lesionseg.evaluation.report import Evaluation
from lesionseg.segmentation.segmenter import Segmenter

Load = Callable[[str | Sequence[str] | None], Segmenter]  # of a checkpoint's name, or of several
OnPhoto = Callable[[int, int], None]


def _silent() -> AbstractContextManager[OnPhoto]:
    return nullcontext(lambda done, total: None)


@dataclass(frozen=True)
class Plan:
    """What is scored, and on which photos.

    Attributes:
        segmenters: the networks.
        folders: of finished masks.
        dataset, split: the photos and truth masks.
        out_of_fold: whether each photo is scored by the network that held it out, as one score.
        notes: what a user must know of the photos.
    """

    segmenters: Sequence[Segmenter]
    folders: Sequence[Path]
    dataset: Dataset
    split: str
    out_of_fold: bool
    notes: tuple[str, ...]

    @classmethod
    def make(
        cls,
        source: Source | None,
        load: Load,
        checkpoints: Sequence[str],
        folders: Sequence[Path] = (),
        split: str | None = None,
        groups: Path | None = None,
        masks: Path | None = None,
        *,
        ensemble: bool = False,
        out_of_fold: bool = False,
    ) -> "Plan":
        """Load the networks and find the photos.

        Args:
            source: where photos and masks are; by default, the first network's, else the
                downloaded set.
            load: gives the network of a name, or the mean of the networks of several.
            checkpoints: names; with neither these nor `folders`, the default one is scored.
            folders: of finished masks.
            split: which photos; by default as for `candidates.default_split`.
            groups: a CSV file of the photos that belong together.
            masks: where the masks of the only network will be written.
            ensemble: whether the checkpoints are scored as one.
            out_of_fold: see `candidates.evaluate_out_of_fold`.

        Raises:
            UsageError: these do not go together.
            LesionsegError: a checkpoint cannot be read, `masks` cannot be written, or there are no
                photos.
        """
        if out_of_fold and (split or folders):
            raise UsageError("--out-of-fold cannot be combined with --split or --predictions")
        if ensemble and (out_of_fold or len(checkpoints) < 2):
            raise UsageError(
                "--ensemble needs at least two --checkpoint and cannot be combined with "
                "--out-of-fold"
            )
        names: list[Any] = [checkpoints] if ensemble else [*checkpoints]
        if masks and len(names) + len(folders) > 1 and not out_of_fold:
            raise UsageError(
                "--masks writes the masks of one network; give one --checkpoint and no "
                "--predictions"
            )
        if masks:
            files.check_writable(masks, is_folder=True)
        segmenters = [load(name) for name in names or ([] if folders else [None])]
        networks = [segmenter.checkpoint for segmenter in segmenters]
        before = networks[0].data.source() if networks else None
        used, notes = inherit(source, before)
        dataset = (replace(used, groups_file=groups) if groups else used).find()
        default = "all" if out_of_fold else candidates.default_split(dataset, *networks)
        return cls(
            segmenters, folders, dataset, split or default, out_of_fold, (*notes, *dataset.notes)
        )

    def evaluate(
        self,
        command: str,
        batch_size: int,
        workers: int,
        masks: Path | None = None,
        outlines: bool = False,
        progress: Callable[[], AbstractContextManager[OnPhoto]] = _silent,
    ) -> Iterator[Evaluation]:
        """Score the networks, then the folders, one at a time.

        Args:
            command, batch_size, workers, masks, outlines: as for `candidates.evaluate`.
            progress: entered for each; gives its `on_photo`.

        Raises:
            LesionsegError: as for `candidates.evaluate` and `candidates.evaluate_out_of_fold`.
        """
        options: dict[str, Any] = {"command": command, "batch_size": batch_size, "workers": workers}
        options |= {"masks": masks, "outlines": outlines}
        if self.out_of_fold:
            with progress() as bar:
                evaluation = candidates.evaluate_out_of_fold(
                    self.segmenters, self.dataset, on_photo=bar, **options
                )
            yield evaluation
            return
        for candidate in candidates.list_candidates(self.segmenters, self.folders):
            with progress() as bar:
                evaluation = candidates.evaluate(
                    candidate, self.dataset, self.split, on_photo=bar, **options
                )
            yield evaluation
