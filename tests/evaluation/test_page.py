"""The report that people look at: one file, complete, with nothing in it that a name commands."""

import base64
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers import write_mask
from PIL import Image
from reports import (
    HEIGHT,
    WIDTH,
    checkpoint_info,
    data_info,
    disc,
    evaluation,
    write_photos,
    write_predictions,
)

from lesionseg.data import synthetic
from lesionseg.data.filenames import file_id
from lesionseg.data.pairs import Pair
from lesionseg.errors import LesionsegError
from lesionseg.evaluation import page
from lesionseg.evaluation.report import EarlierCheckpoint, Evaluation
from lesionseg.images.encode import photo_jpeg

ODD = (
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "'&amp;{{ 7 * 7 }}{% raw %}",
    "\N{SMILING FACE WITH SUNGLASSES} \u75c5\u5909",
    "ISIC\udcff",
    "a\x1b[31m\nb",
)  # fmt: skip
SHOWN = (*ODD[:4], r"ISIC\udcff", r"a\x1b[31m\nb")


class Parsed(HTMLParser):
    """The elements of a page with their attributes, and its text without script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._silent = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [
            values
            for name, values in self.elements
            if name == tag and attributes.items() <= values.items()
        ]


def listed(parsed: Parsed) -> list[str | None]:
    """The names in the list of all photos, in its order."""
    return [attributes["data-name"] for attributes in parsed.all("li") if "data-name" in attributes]


def written(
    folder: Path, evaluations: Sequence[Evaluation], pairs: dict[str, Pair], workers: int = 1
) -> str:
    path = folder / "report" / page.PAGE
    page.write(evaluations, pairs, path, workers=workers)
    assert [file.name for file in path.parent.iterdir()] == [page.PAGE]
    return path.read_text(encoding="utf-8")


def drawn(folder: Path, names: Sequence[str], shift: float = 5) -> tuple[str, Parsed]:
    """The report of masks each of which is moved by `shift` pixels more than the last."""
    pairs = write_photos(folder / "data", names)
    predictions = write_predictions(folder / "masks", names, shift)
    text = written(folder, [evaluation(pairs, predictions)], pairs)
    return text, Parsed(text)


def test_names_are_shown_and_never_obeyed(tmp_path: Path) -> None:
    pairs = write_photos(tmp_path / "data", ODD)
    predictions = write_predictions(tmp_path / "masks", ODD, 5)
    for odd, shown in zip(ODD, SHOWN, strict=True):
        one = evaluation(pairs, predictions, odd)
        one = replace(
            one,
            data=replace(data_info(odd, odd, odd), split_source=odd),
            notes=[odd],
            skipped=[odd],
            left_out=[odd],
            checkpoint=replace(checkpoint_info(odd, odd), commit=odd),
            command=odd,
        )
        text = written(tmp_path, [one, replace(one, name=f"{odd}2")], pairs)
        parsed = Parsed(text)
        assert len(parsed.all("script")) == 1
        assert not [
            name for _, attributes in parsed.elements for name in attributes if name[:2] == "on"
        ]
        assert all(
            (attributes["src"] or "").startswith("data:") for attributes in parsed.all("img")
        )
        assert sorted(str(name) for name in listed(parsed)) == sorted(SHOWN)
        assert " ".join(shown.split()) in parsed.text
        assert "\x1b" not in text


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    text, parsed = drawn(tmp_path, ["a", "b", "c"])
    for _, attributes in parsed.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/webp;base64,"))
    assert not {tag for tag, _ in parsed.elements} & {"link", "iframe", "object", "embed", "base"}
    bare = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest|import\(", bare)
    (policy,) = (
        attributes["content"] or ""
        for attributes in parsed.all("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    script = text[text.index("<script>") + 8 : text.index("</script>")]
    checksum = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{checksum}'"
    )


def test_a_photo_is_small_keeps_its_aspect_and_nothing_but_pixels(tmp_path: Path) -> None:
    pairs = write_photos(tmp_path / "data", ["a"])
    exif = Image.Exif()
    exif[0x010E] = "patient 7"
    with Image.open(pairs["a"].photo) as photo:
        photo.resize((3 * WIDTH, 3 * HEIGHT)).save(pairs["a"].photo, exif=exif)
    write_mask(pairs["a"].mask, disc(30).repeat(3, 0).repeat(3, 1))
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "0000.png").write_bytes(pairs["a"].mask.read_bytes())
    parsed = Parsed(written(tmp_path, [evaluation(pairs, tmp_path / "masks")], pairs))
    sizes = []
    for attributes in parsed.all("img"):
        data = base64.b64decode((attributes["src"] or "").partition(",")[2])
        assert b"patient" not in data
        with Image.open(io.BytesIO(data)) as thumbnail:
            assert not thumbnail.getexif()
            sizes.append(thumbnail.size)
        assert int(attributes["width"] or 0) * HEIGHT == int(attributes["height"] or 0) * WIDTH
    assert sizes == [(3 * WIDTH, 3 * HEIGHT), (page.SMALL, page.SMALL * HEIGHT // WIDTH)]


def test_the_worst_stand_first_and_no_photo_is_shown_large_twice(tmp_path: Path) -> None:
    names = [f"photo {index}" for index in range(20)]
    text, parsed = drawn(tmp_path, names, shift=1)
    assert listed(parsed) == names[::-1]  # each was moved further than the one before
    failed = [attributes for attributes in parsed.all("li") if "data-failed" in attributes]
    assert 0 < len(failed) < 13
    assert listed(parsed)[: len(failed)] == [attributes["data-name"] for attributes in failed]
    large = text[text.index("<h3>") : text.index('id="h-all"')]
    shown = re.findall(r'<span class="name">(.*?)</span>', large)
    assert len(shown) == len(set(shown)) == len(failed) + 8
    headings = re.findall(r"<h3>(.*?)</h3>", large)
    assert headings == ["Failures", "Around the median", "The best"]
    assert shown[: len(failed)] == names[::-1][: len(failed)]
    assert shown[-4:] == names[:4]
    assert "photo 10" in shown[len(failed) : -4]


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_few_photos_are_each_shown_once(tmp_path: Path, count: int) -> None:
    names = [f"photo {index}" for index in range(count)]
    text, _ = drawn(tmp_path, names, shift=0.5)
    large = text[text.index("<h3>") : text.index('id="h-all"')]
    shown = re.findall(r'<span class="name">(.*?)</span>', large)
    assert len(shown) == len(set(shown)) == min(count, 12)
    assert "<h3>The worst</h3>" in large


def test_masks_without_photos_are_drawn_as_outlines(tmp_path: Path) -> None:
    pairs = write_photos(tmp_path / "data", ["a", "b"])
    pairs = {name: replace(pair, photo=pair.mask) for name, pair in pairs.items()}
    parsed = Parsed(written(tmp_path, [_finished(tmp_path, pairs)], pairs))
    assert parsed.all("img") == []
    assert len(parsed.all("g", **{"data-candidate": "truth"})) == 4  # each large, and in the list
    assert len(parsed.all("g", **{"data-candidate": "0"})) == 4


def _finished(folder: Path, pairs: dict[str, Pair]) -> Evaluation:
    for pair in pairs.values():
        target = folder / "masks" / f"{file_id(pair.photo)}.png"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(pair.mask.read_bytes())
    return evaluation(pairs, folder / "masks")


def test_a_photo_that_went_away_leaves_its_scores(tmp_path: Path) -> None:
    pairs = write_photos(tmp_path / "data", ["a", "b"])
    one = _finished(tmp_path, pairs)
    pairs["a"].photo.unlink()
    pairs["b"].mask.write_bytes(b"")
    parsed = Parsed(written(tmp_path, [one], pairs))
    assert sorted(str(name) for name in listed(parsed)) == ["a", "b"]
    assert "The photo cannot be read." in parsed.text
    assert len(parsed.all("img")) == 2  # that of b, large and in the list


def test_an_empty_mask_and_a_missing_lesion_have_no_outline(tmp_path: Path) -> None:
    pairs = write_photos(tmp_path / "data", ["a"])
    write_mask(pairs["a"].mask, disc(-1))
    write_mask(tmp_path / "masks" / "0000.png", disc(-1))
    parsed = Parsed(written(tmp_path, [evaluation(pairs, tmp_path / "masks")], pairs))
    assert parsed.all("g", **{"data-candidate": "0"}) == []
    assert "Dice 1.000 · Jaccard 1.000 empty mask" in parsed.text
    assert "lesion 0.0 % of the photo" in parsed.text


def test_paths_are_relative(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(here)
    pairs = write_photos(here / "data", ["a"])
    one = _finished(here, pairs)
    typed = f"{one.command} --report=/very/private/report/folder --masks '{home / 'my masks'}'"
    one = replace(
        one,
        command=typed,
        checkpoint=checkpoint_info(str(cache_dir / "runs" / "mine" / "best.pt")),
        skipped=[
            f"{here / 'data' / 'images' / 'b.png'}: damaged",
            "d: expected one mask in /very/private/report/folder, found none",
        ],
        left_out=[f"{home / 'other' / 'c.png'}: no mask"],
    )
    text = written(tmp_path, [one], pairs)
    assert str(tmp_path) not in text
    assert "private" not in text
    shown = Parsed(text).text
    assert "lesionseg eval --data data --predictions masks" in shown
    assert "--report=…/report/folder --masks '~/my masks'" in shown
    assert "<cache>/runs/mine/best.pt" in shown
    assert "images/b.png: damaged" in shown
    assert "d: expected one mask in …/report/folder, found none" in shown
    assert "~/other/c.png: no mask" in shown


def test_several_are_told_apart_and_their_differences_shown(tmp_path: Path) -> None:
    names = [f"photo {index}" for index in range(6)]
    pairs = write_photos(tmp_path / "data", names)
    near, far = (
        evaluation(pairs, write_predictions(tmp_path / name, names, shift), name)
        for name, shift in (("near", 1), ("far", 6))
    )
    far = replace(far, scores=far.scores[1:], notes=["drawn in a hurry"])
    text = written(tmp_path, [near, far], pairs)
    parsed = Parsed(text)
    for candidate in ("0", "1"):
        outlines = parsed.all("g", **{"data-candidate": candidate})
        assert len(outlines) == 2 * len(parsed.all("img")) / 2 - (candidate == "1") * _large(
            text, 0
        )
    assert "far: drawn in a hurry" in parsed.text
    assert "far worse -0." in parsed.text
    assert "0, 5 of 5 photos" in parsed.text
    large = text[text.index("<h3>Where they differ most") : text.index("<h3>Failures")]
    shown = re.findall(r'<span class="name">(.*?)</span>', large)
    assert shown[0] == "photo 5"
    assert "photo 0" not in shown  # scored by one alone
    gains = {
        attributes["data-name"]: attributes.get("data-gain1")
        for attributes in parsed.all("li")[-6:]
    }
    assert parsed.text.count("Side by side") == 1
    assert sum(gain is None for gain in gains.values()) <= 1


def _large(text: str, index: int) -> int:
    """How often a photo is shown."""
    return text.count(f'<span class="name">photo {index}</span>')


def test_a_thousand_photos_are_a_few_megabytes(tmp_path: Path) -> None:
    sizes, every = {}, []
    masks = tmp_path / "masks"
    for index in range(40):
        photo, mask = synthetic.generate(0, index)
        path = tmp_path / f"{index:04}.jpg"
        path.write_bytes(photo_jpeg(photo))
        truth = write_mask(masks / f"{index:04}.png", mask)
        every.append(Pair(f"ISIC_{index:07}", path, truth))
    for count in (24, 40):
        pairs = {pair.id: pair for pair in every[:count]}
        one = evaluation(pairs, masks)
        path = tmp_path / f"{count}.html"
        page.write([one], pairs, path, workers=2)
        sizes[count] = path.stat().st_size
    size = (sizes[40] - sizes[24]) / 16
    assert sizes[24] + size * 976 < 8e6


def test_no_photo_is_an_error_and_leaves_the_old_page(tmp_path: Path) -> None:
    drawn(tmp_path, ["a"])
    path = tmp_path / "report" / page.PAGE
    before = path.read_bytes()
    pairs = write_photos(tmp_path / "data", ["a"])
    none = replace(_finished(tmp_path, pairs), scores=[])
    with pytest.raises(LesionsegError, match="at least one"):
        page.write([none], pairs, path, workers=1)
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 1


def test_the_photos_done_are_told_and_threads_change_nothing(tmp_path: Path) -> None:
    names = [f"photo {index}" for index in range(7)]
    pairs = write_photos(tmp_path / "data", names)
    one = evaluation(pairs, write_predictions(tmp_path / "masks", names, 5))
    progress: list[tuple[int, int]] = []
    page.write(
        [one],
        pairs,
        tmp_path / "a.html",
        workers=1,
        on_photo=lambda done, total: progress.append((done, total)),
    )
    page.write([one], pairs, tmp_path / "b.html", workers=4)
    assert progress == [(done, 7) for done in range(1, 8)]
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_where_a_network_comes_from_is_shown(tmp_path: Path) -> None:
    pairs = write_photos(tmp_path / "data", ["a"])
    one = _finished(tmp_path, pairs)
    parent = EarlierCheckpoint(file="bundled", trained_on="isic", training_photos=0)
    teacher = EarlierCheckpoint(file="/a/b/c/t1/<i>.pt", trained_on="mine", training_photos=7)
    info = replace(checkpoint_info(), parent=parent, teachers=(teacher, teacher))
    shown = Parsed(written(tmp_path, [replace(one, checkpoint=info)], pairs)).text
    name = "…/t1/<i>.pt (trained on 7 photos of mine)"
    assert (
        "trained on 3 photos of discs; started from bundled (trained on isic); "
        f"taught by {name}, {name}, commit abc." in shown
    )
