"""Photos paired with masks: found in folders, and split.

A folder may be laid out in four ways, looked for in this order; names match in any case:

1. official folders: `*Training*Input` or `*Training*Data` beside `*Training*GroundTruth`, and
   the same for `Validation` and `Test`, which are then the splits;
2. two folders, named by two options;
3. `images/` (or `photos/`) and `masks/`;
4. one folder: masks are the files with `_segmentation`, else the PNG, BMP or TIFF of two namesakes.

A mask is called like its photo, with or without `_segmentation`. Except in official folders, there
may be labels in place of masks, as a labelling tool left them: `labels.json`, `labels.xml`,
`annotations.json` or `annotations.xml` beside the folders or the photos, else LabelMe's files
beside the photos or in `labels/`. They are taken even where masks are, as these may be the drafts
that they correct. Lists of ids, `train.txt`, `val.txt` and `test.txt`, beside the folders decide
the split where they stand.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lesionseg import images
from lesionseg.config import VALIDATION_SHARE
from lesionseg.data.catalog import Description, read_description
from lesionseg.data.filenames import file_id, is_mask_name, list_images
from lesionseg.errors import LesionsegError, one_line
from lesionseg.labels import formats
from lesionseg.labels.formats import Labelled, Labels

SPLITS = ("train", "val", "test")

_OFFICIAL = re.compile(r"(training|validation|test).*(input|data|groundtruth)$")
_OFFICIAL_SPLIT = {"training": "train", "validation": "val", "test": "test"}
_LOSSY = frozenset({".jpg", ".jpeg", ".webp"})


@dataclass(frozen=True, order=True)
class Pair:
    """A photo, its mask, and the id of both: the photo's name without suffix, in its own case.

    Where the mask is told by labels, `mask` is the file that holds them.
    """

    id: str
    photo: Path
    mask: Path
    labelled: Labelled | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Dataset:
    """What was found at `folder`.

    Attributes:
        folder: where the search began.
        pairs: all of them, sorted by id, by split.
        problems: one line for each file that is left out, with its name.
        split_source: "lists", "official folders", or "seeded" for a split drawn here.
        description: what `dataset.json` says, None where there is none.
    """

    folder: Path
    pairs: dict[str, tuple[Pair, ...]]
    problems: tuple[str, ...]
    split_source: str
    description: Description | None = field(default=None)

    def split(self, name: str) -> tuple[Pair, ...]:
        """The pairs of "train", "val", "test" or "all", sorted by id.

        Raises:
            LesionsegError: there are none.
        """
        parts = [pairs for split, pairs in self.pairs.items() if name in (split, "all")]
        chosen = tuple(sorted(pair for part in parts for pair in part))
        if not chosen:
            counts = ", ".join(f"{split} {len(pairs)}" for split, pairs in self.pairs.items())
            raise LesionsegError(
                f"{self.folder}: no photos with masks in split {name!r}; there are: {counts}"
            )
        return chosen


def find(folder: Path | None, photos: Path | None = None, truth: Path | None = None) -> Dataset:
    """The pairs in `folder`, or of the photos in `photos` with the masks in `truth`.

    `truth` is a folder of masks or of LabelMe's files, or a file of labels. Where it stands alone,
    photos are not looked for: each pair's photo is its mask, or where its label says.

    Raises:
        LesionsegError: no such folder or file, no pair in it, or a list that names nothing there.
    """
    problems: list[str] = []
    by_split: dict[str, list[Pair]] = {split: [] for split in SPLITS}
    if truth is not None:
        root = folder or truth.parent
        by_split["train"] = _find_truth(photos, truth, problems)
        source = "seeded"
    elif folder is not None:
        root = folder
        source = _find_in(folder, by_split, problems)
    else:
        raise ValueError("expected a folder, or photos and truth")
    if not any(by_split.values()):
        shown = f" ({'; '.join(problems[:3])})" if problems else ""
        expected = (
            "the official ISIC folders, images/ and masks/, or photos beside NAME_segmentation.png "
            "or labels"
            if truth is None
            else "masks called like the photos, or labels that name them"
        )
        raise LesionsegError(
            f"{truth or root}: no photo with a mask found{shown}; expected {expected}"
        )
    _name_repeated(by_split, problems)
    if listed := _apply_lists(root, by_split, problems):
        source = listed
    elif not by_split["val"] and by_split["train"]:
        _split_by_hash(by_split)
        source = "seeded"
    pairs = {split: tuple(sorted(found)) for split, found in by_split.items() if found}
    return Dataset(root, pairs, tuple(problems), source, read_description(root))


def _find_truth(photos: Path | None, truth: Path, problems: list[str]) -> list[Pair]:
    """The pairs of photos with the masks or labels that `truth` names."""
    named = None if photos is None else list_images(photos)
    is_file = truth.is_file() or (truth.suffix.lower() in formats.SUFFIXES and not truth.exists())
    found = formats.read(truth) if is_file else None
    if found is None:
        masks = list_images(truth)  # says so where the folder is missing
        found = formats.beside(truth)
        if found is None and not masks and (broken := formats.read(truth)).unusable:
            found = broken  # which says why
        if found is None:
            return _match(masks if named is None else named, masks, problems)
        _name_ignored(masks, found, problems)
    if named is None:
        named = [each.photo for each in found.photos]
    return _match_labels([path for path in named if not is_mask_name(path)], found, problems)


def _find_in(folder: Path, by_split: dict[str, list[Pair]], problems: list[str]) -> str:
    """Fills `by_split` from one folder; returns where the split comes from."""
    files = list_images(folder)  # says so where the folder is missing
    children = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    official: dict[tuple[str, bool], list[Path]] = {}
    for name, path in children.items():
        if match := _OFFICIAL.search(name):
            key = (_OFFICIAL_SPLIT[match[1]], match[2] == "groundtruth")
            official.setdefault(key, []).extend(list_images(path))
    if any((split, True) in official and (split, False) in official for split in SPLITS):
        for split in SPLITS:
            photos, masks = official.get((split, False), []), official.get((split, True), [])
            by_split[split] = _match(photos, masks, problems)
        return "official folders"
    masks_folder, labels_folder = children.get("masks"), children.get("labels")
    photos_folder = children.get("images") or children.get("photos")
    places = [each for each in (folder, photos_folder, labels_folder) if each]
    found = next((each for place in places if (each := formats.beside(place))), None)
    if photos_folder and (masks_folder or found):
        photos = [path for path in list_images(photos_folder) if not is_mask_name(path)]
        masks = list_images(masks_folder) if masks_folder else []
    else:
        photos, masks = _told_apart(files)
    if found:
        _name_ignored(masks, found, problems)
        by_split["train"] = _match_labels(photos, found, problems)
    else:
        by_split["train"] = _match(photos, masks, problems)
    return "seeded"


def _name_ignored(masks: list[Path], found: Labels, problems: list[str]) -> None:
    """A line that says so where masks lie beside labels."""
    ignored = sum(map(is_mask_name, masks))
    if ignored:
        problems.append(f"{ignored} masks, in place of which {found.path} is taken")


def _told_apart(files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Photos and masks of one folder."""
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(file_id(path), []).append(path)
    photos: list[Path] = []
    masks: list[Path] = []
    for group in groups.values():
        named = [path for path in group if is_mask_name(path)]
        lossy = [path for path in group if path.suffix.lower() in _LOSSY]
        if not named and len(group) == 2 and len(lossy) == 1:
            named = [path for path in group if path not in lossy]
        masks += named
        photos += [path for path in group if path not in named]
    return photos, masks


def _match(photos: list[Path], masks: list[Path], problems: list[str]) -> list[Pair]:
    """Pairs of one split; what has no partner, or more than one, becomes a problem."""
    photo_of, mask_of = _by_id(photos, "photo", problems), _by_id(masks, "mask", problems)
    problems += [f"{photo_of[key]}: no mask" for key in photo_of.keys() - mask_of.keys()]
    problems += [f"{mask_of[key]}: no photo" for key in mask_of.keys() - photo_of.keys()]
    problems.sort()
    both = photo_of.keys() & mask_of.keys()
    # the slice drops `_segmentation`, where masks stand for their photos
    return [Pair(photo_of[key].stem[: len(key)], photo_of[key], mask_of[key]) for key in both]


def _match_labels(photos: list[Path], found: Labels, problems: list[str]) -> list[Pair]:
    """Pairs of photos and their labels; what has no partner, or more than one, is a problem."""
    photo_of = _by_id(photos, "photo", problems)
    problems += [each.why for each in found.unusable]
    told = {formats.stem(each.name).lower() for each in found.unusable}
    labelled: dict[str, list[Labelled]] = {}
    for each in found.photos:
        labelled.setdefault(formats.stem(each.name).lower(), []).append(each)
    pairs = []
    for key, (each, *more) in sorted(labelled.items()):
        where = f"{each.file}: {each.name}"
        if more:
            problems.append(f"{where}: {more[0].name} has the same name; both left out")
        elif key not in photo_of:
            problems.append(f"{where}: no photo of that name")
        else:
            photo = photo_of[key]
            pairs.append(Pair(photo.stem, photo, each.file, each))
    unnamed = photo_of.keys() - labelled.keys() - told
    problems += [f"{photo_of[key]}: not in {found.path}" for key in sorted(unnamed)]
    return pairs


def _by_id(files: list[Path], what: str, problems: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    twice: set[str] = set()
    for path in files:
        key = file_id(path)
        if key in found:
            problems.append(f"{path}: a second {what} of the name {path.stem!r}; both left out")
            twice.add(key)
        found[key] = path
    return {key: path for key, path in found.items() if key not in twice}


def _name_repeated(by_split: dict[str, list[Pair]], problems: list[str]) -> None:
    """A photo of one name in two splits stays in the first of them alone."""
    seen: dict[str, Path] = {}
    for split, pairs in by_split.items():
        for pair in list(pairs):
            first = seen.setdefault(pair.id.lower(), pair.photo)
            if first is not pair.photo:
                problems.append(f"{pair.photo}: stands in another split already, as {first}")
                by_split[split].remove(pair)


def _apply_lists(root: Path, by_split: dict[str, list[Pair]], problems: list[str]) -> str:
    """Splits by the lists of ids in `root`; returns where "val" comes from, "" without lists."""
    lists = {split: _read_list(root / f"{split}.txt") for split in SPLITS}
    given = {split: ids for split, ids in lists.items() if ids is not None}
    if not given:
        return ""
    pairs = {file_id(pair.photo): pair for found in by_split.values() for pair in found}
    seen: dict[str, str] = {}
    for split, ids in given.items():
        for key in ids:
            if key in seen and seen[key] != split:
                raise LesionsegError(
                    f"{root}: {key} stands in {seen[key]}.txt and in {split}.txt; "
                    "a photo may be in one split only"
                )
            seen[key] = split
    problems += [
        f"{root / f'{split}.txt'}: {key} has no photo with a mask"
        for key, split in seen.items()
        if key not in pairs
    ]
    rest = [pair for key, pair in pairs.items() if key not in seen]
    for split in SPLITS:
        by_split[split] = [pairs[key] for key in given.get(split, ()) if key in pairs]
        if given.get(split) and not by_split[split]:
            raise LesionsegError(f"{root / f'{split}.txt'}: none of its ids has a photo and a mask")
    if "train" not in given:
        by_split["train"] = rest
    elif "val" not in given:
        by_split["val"] = rest
    elif rest:
        problems.append(f"{root}: {len(rest)} photos stand in no list")
    if "val" in given or by_split["val"]:
        return "lists"
    _split_by_hash(by_split)
    return "seeded"


def _read_list(path: Path) -> list[str] | None:
    """The ids of a list, one a line, in lower case, each once; None where there is no file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise LesionsegError(f"{path}: cannot read this list: {one_line(error)}") from error
    lines = (line.strip() for line in text.splitlines() if line.strip())
    keys = (
        file_id(Path(line)) if Path(line).suffix.lower() in images.SUFFIXES else line.lower()
        for line in lines
    )
    return list(dict.fromkeys(keys))


def _split_by_hash(by_split: dict[str, list[Pair]]) -> None:
    """Moves a tenth of "train" to "val", chosen by the hash of the ids alone."""
    ranked = sorted(by_split["train"], key=lambda pair: _hash(file_id(pair.photo)))
    held_out = max(1, round(len(ranked) * VALIDATION_SHARE)) if len(ranked) > 1 else 0
    by_split["val"], by_split["train"] = ranked[:held_out], ranked[held_out:]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def read_pair(pair: Pair, size: int) -> tuple[images.Photo, images.Mask]:
    """The photo (size, size, 3) uint8 and its mask (size, size) bool.

    Raises:
        LesionsegError: one of them cannot be read, or they differ in size.
    """
    photo, own_size = images.read_photo_shrunk(pair.photo, size)
    mask, _ = read_truth(pair, own_size)
    return photo, images.shrink_mask(mask, size)


def read_truth(pair: Pair, size: tuple[int, int] | None = None) -> tuple[images.Mask, bool]:
    """The mask as `images.read_mask` gives it, of the (height, width) that its photo has.

    Where no size is given, the mask's own is taken.

    Raises:
        LesionsegError: it cannot be read, or has another size.
    """
    if pair.labelled is not None:
        drawn = pair.labelled
        if size is not None and size != (drawn.height, drawn.width):
            raise LesionsegError(
                f"{pair.mask}: {drawn.name}: expected labels of {size[1]}x{size[0]} pixels as its "
                f"photo, got {drawn.width}x{drawn.height}"
            )
        return drawn.mask(), False
    mask, zero_one = images.read_mask(pair.mask)
    if size is not None and mask.shape != size:
        raise LesionsegError(
            f"{pair.mask}: expected a mask of {size[1]}x{size[0]} pixels as its photo, "
            f"got {mask.shape[1]}x{mask.shape[0]}"
        )
    return mask, zero_one
