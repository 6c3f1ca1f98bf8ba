"""Which files in a folder are images: by suffix, else by content; what is left out is said."""

from pathlib import Path

import pytest
from PIL import Image

from lesionseg.data.filenames import list_images
from lesionseg.images import filetypes

IMAGE = Image.new("RGB", (8, 8))


def test_photos_are_found_by_their_content(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = {"a.JPG": "JPEG", "b.jfif": "JPEG", "c.jpe": "JPEG", "d": "JPEG", "e.foo": "PNG"}
    names |= {"f.gif": "GIF", "g.dat": "WEBP", "h.avif": "AVIF", "i.tmp": "BMP", "j.TIFF": "TIFF"}
    for name, format in names.items():
        IMAGE.save(tmp_path / name, format)
    (tmp_path / "k.png").write_text("not a photo, which is reported when it is read")
    for name in ("train.txt", "labels.json", ".hidden", "m.csv", "n_overlay.png"):
        (tmp_path / name).write_text("text")
    (tmp_path / "folder.jpg").mkdir()
    assert [path.name for path in list_images(tmp_path)] == [*names, "k.png"]
    assert caplog.records == []


def test_what_is_left_out_is_counted_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filetypes, "heif_reader", lambda: None)
    for name in ("1.heic", "2.HEIC", "3"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    for name in ("1.dcm", "1.2.840.5"):
        (tmp_path / name).write_bytes(bytes(128) + b"DICM" + bytes(20))
    (tmp_path / "notes.txt").write_text("Müller " * 40, "utf-8")
    (tmp_path / "data.bin").write_bytes(bytes(range(256)))
    (tmp_path / "4.jpg").symlink_to("not-fetched")
    (tmp_path / "5.jpg").symlink_to("5.jpg")
    assert [path.name for path in list_images(tmp_path)] == ["1.2.840.5", "1.dcm"]
    (record,) = caplog.records
    counts = "3 HEIC (pip install pi-heif), 2 broken link, 1 other, 1 text"
    assert record.getMessage() == f"{tmp_path}: left out: {counts}"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"II*\0\x10\0\0\0CR\x02\0", "camera raw"),
        (b"MM\0+\0\x08", "TIFF"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"RIFF\0\0\0\0WAVEfmt ", "video or sound"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomiso2", "video or sound"),
        (b"\0\0\0\x18ftypcrx \0\0\0\0crx isom", "camera raw"),
        (b"%PDF-1.7\n", "PDF"),
        (b"", "empty"),
        ("ä".encode() * 80, "text"),
        (("x" + "ä" * 80).encode()[: filetypes.HEAD], "text"),  # cut within a letter
        (b"\0\1\2\3" * 40, None),
    ],
)
def test_kinds(head: bytes, kind: str | None) -> None:
    assert filetypes.kind_of(head) == kind
