"""Score from Python: the same steps as the command `lesionseg eval`, without its messages."""

from functools import partial
from pathlib import Path

from lesionseg.data.source import PathLike, Several, choose_source, refuse_empty, several
from lesionseg.errors import UsageError
from lesionseg.evaluation.plan import Plan
from lesionseg.evaluation.report import Evaluation
from lesionseg.segmentation.segmenter import load


def evaluate(
    data: PathLike | None = None,
    checkpoint: Several = None,
    *,
    photos: Several = None,
    truth: PathLike | None = None,
    categories: Several = None,
    lesion_colours: Several = None,
    lesion_labels: Several = None,
    groups: PathLike | None = None,
    split: str | None = None,
    ensemble: bool = False,
    threshold: float | None = None,
    all_regions: bool = False,
    predictions: PathLike | None = None,
    masks: PathLike | None = None,
    device: str | None = None,
    batch_size: int = 4,
    workers: int = 1,
) -> Evaluation:
    """Score a network, several as one, or finished masks, as `lesionseg eval` does.

    Args:
        data: a folder of photos and masks, or the name of a downloaded set; by default the photos
            that the network was trained on, and for the bundled one the downloaded set.
        checkpoint: as for `load`; several are the runs of `fold` 1/N to N/N, of which each photo is
            scored by the one that held it out, unless they are an ensemble.
        photos, truth: two folders in place of `data`; photos may lie in several.
        categories, lesion_colours, lesion_labels: as for `lesionseg.train`.
        groups: CSV file of the photos that belong together.
        split: "train", "val", "test" or "all"; by default "val" where one is set apart, else "all".
        ensemble: score the mean of the checkpoints' probabilities.
        threshold, all_regions: as for `load`.
        predictions: a folder of finished masks, to be scored in place of a checkpoint.
        masks: a folder to write the network's masks to.
        device: as for `load`.
        batch_size: photos in one step of the network, in torch.
        workers: threads that read photos.

    Returns:
        The scores of each photo in `scores`, their means in `summary`, and what must be known
        before quoting them in `notes`.

    Raises:
        UsageError: arguments that do not go together, or an empty list or text.
        LesionsegError: no such checkpoint or photos, or folds that do not belong together.
    """
    refuse_empty(data=data, checkpoint=checkpoint, photos=photos, truth=truth, groups=groups)
    refuse_empty(categories=categories, lesion_colours=lesion_colours, lesion_labels=lesion_labels)
    refuse_empty(split=split, predictions=predictions, masks=masks)
    names = several(checkpoint)
    if predictions is not None and names:
        raise UsageError("a checkpoint or predictions are scored, got both: call it for each")
    alone = predictions is not None
    source = choose_source(
        data, photos, truth, categories, lesion_colours, lesion_labels, masks_alone=alone
    )
    folder = Path(masks) if masks else None
    plan = Plan.make(
        source,
        partial(load, device=device, threshold=threshold, all_regions=all_regions, threads=1),
        names,
        [Path(predictions)] if predictions is not None else [],
        split,
        Path(groups) if groups else None,
        folder,
        ensemble=ensemble,
        out_of_fold=len(names) > 1 and not ensemble,
    )
    (evaluation,) = plan.evaluate("", batch_size, workers, folder)
    return evaluation
