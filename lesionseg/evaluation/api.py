"""Score from Python: the same steps as the command `lesionseg eval`, without its messages."""

from collections.abc import Sequence
from pathlib import Path

from lesionseg.data import discovery
from lesionseg.data.catalog import find_data
from lesionseg.evaluation import candidates
from lesionseg.evaluation.report import Evaluation
from lesionseg.segmentation.segmenter import load


def evaluate(
    data: str | Path | None = None,
    checkpoint: str | Path | Sequence[str | Path] | None = None,
    *,
    photos: str | Path | None = None,
    truth: str | Path | None = None,
    split: str | None = None,
    ensemble: bool = False,
    device: str | None = None,
    batch_size: int = 4,
    workers: int = 1,
) -> Evaluation:
    """Score a network, or several as one, as `lesionseg eval` does.

    Args:
        data: a folder of photos and masks, or the name of a downloaded set; by default that set.
        checkpoint: as of `load`; several are the runs of `fold` 1/N to N/N, of which each photo is
            scored by the one that held it out, unless they are an ensemble.
        photos, truth: two folders in place of `data`.
        split: "train", "val", "test" or "all"; by default "val" where one is set apart, else "all".
        ensemble: score the mean of the checkpoints' probabilities.
        device: as of `load`.
        batch_size: photos in one step of the network, in torch.
        workers: threads that read photos.

    Returns:
        The scores of each photo in `scores`, their means in `summary`, and what must be known
        before quoting them in `notes`.

    Raises:
        LesionsegError: no such checkpoint or photos, or folds that do not belong together.
    """
    folder = None if data is None and truth else find_data(str(data) if data else None)
    dataset = discovery.find(
        folder, Path(photos) if photos else None, Path(truth) if truth else None
    )
    if not (ensemble or checkpoint is None or isinstance(checkpoint, str | Path)):
        segmenters = [load(name, device, threads=1) for name in checkpoint]
        return candidates.evaluate_out_of_fold(
            segmenters, dataset, command="", batch_size=batch_size, workers=workers
        )
    segmenter = load(checkpoint, device, threads=1)
    (candidate,) = candidates.list_candidates([segmenter], [])
    chosen = split or candidates.default_split(dataset, segmenter.checkpoint)
    return candidates.evaluate(
        candidate, dataset, chosen, command="", batch_size=batch_size, workers=workers
    )
