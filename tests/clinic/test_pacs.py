"""Real counterparts: a PACS (Orthanc) that keeps photo, outline and report; DCMTK's receiver."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import PATIENT, write_dicom_photo
from helpers import Command

PLUGINS = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Return when something listens on the port."""
    for _ in range(300):
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, "it ended"
        time.sleep(0.1)
    raise AssertionError(f"nothing listens on {port}")


def needs(*programs: str) -> None:
    """Skip where a program is missing."""
    if missing := [name for name in programs if shutil.which(name) is None]:
        pytest.skip(f"no {', '.join(missing)} here (apt-get install orthanc-dicomweb dcmtk)")


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[str]:
    """The address of an Orthanc of this test's own, on loopback, with DICOMweb."""
    program = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
    if not Path(program).exists() or not PLUGINS.exists():
        pytest.skip("no Orthanc here (apt-get install orthanc orthanc-dicomweb)")
    folder = tmp_path / "orthanc"
    folder.mkdir()
    port = free_port()
    settings = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "HttpPort": port,
        "DicomPort": free_port(),
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(PLUGINS)],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(folder / "orthanc.json")], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def fetch(address: str, **headers: str) -> bytes:
    """The body of an answer."""
    asked = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(asked) as answer:
        body: bytes = answer.read()
        return body


def stow(address: str, *paths: Path) -> dict[str, Any]:
    """Send files by STOW-RS; returns the answer."""
    boundary = uuid.uuid4().hex
    parts = [
        f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        + path.read_bytes()
        + b"\r\n"
        for path in paths
    ]
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    asked = urllib.request.Request(
        f"{address}/dicom-web/studies",
        data=b"".join([*parts, f"--{boundary}--".encode()]),
        headers={"Content-Type": kind, "Accept": "application/dicom+json"},
    )
    with urllib.request.urlopen(asked) as answer:
        result: dict[str, Any] = json.loads(answer.read())
        return result


def test_orthanc_keeps_photo_outline_and_report_as_one_study(
    lesionseg: Command, orthanc: str, tmp_path: Path
) -> None:
    photo = write_dicom_photo(tmp_path / "photo.dcm", 1, PixelSpacing=[0.02, 0.02], **PATIENT)
    outline, report = tmp_path / "outline.dcm", tmp_path / "report.dcm"
    ended = lesionseg(
        "segment", photo, "-o", outline, "--report", report, "-c", "bundled", "--json"
    )
    uids = json.loads(ended.out)["dicom"]
    answer = stow(orthanc, photo, outline, report)
    assert len(answer["00081199"]["Value"]) == 3  # all accepted
    assert not answer.get("00081198", {}).get("Value")  # none refused

    study = f"{orthanc}/dicom-web/studies/{uids['study']}"
    records = json.loads(fetch(f"{study}/series", Accept="application/dicom+json"))
    modalities = {series["00080060"]["Value"][0] for series in records}
    assert modalities == {"DMS", "SEG", "SR"}
    patients = json.loads(fetch(f"{orthanc}/patients?expand"))
    assert [patient["MainDicomTags"]["PatientID"] for patient in patients] == ["4711"]

    for uid, path in ((uids["segmentation"], outline), (uids["report"], report)):
        lookup = urllib.request.Request(f"{orthanc}/tools/lookup", data=uid.encode())
        with urllib.request.urlopen(lookup) as found_instance:
            (instance,) = json.loads(found_instance.read())
        back = tmp_path / f"back-{path.name}"
        back.write_bytes(fetch(f"{orthanc}/instances/{instance['ID']}/file"))
        sent, returned = pydicom.dcmread(path), pydicom.dcmread(back)
        if "PixelData" in sent:
            assert returned.PixelData == sent.PixelData
            np.testing.assert_array_equal(returned.pixel_array, sent.pixel_array)
        assert returned == sent
    again = lesionseg("segment", photo, "-o", outline, "-c", "bundled", "--json")
    assert json.loads(again.out)["dicom"]["segmentation"] == uids["segmentation"]
    stow(orthanc, outline)
    assert json.loads(fetch(f"{orthanc}/statistics"))["CountInstances"] == 3


def test_storescp_calls_the_command_for_a_photo_that_arrives(tmp_path: Path) -> None:
    needs("storescp", "dcmsend")
    photo = write_dicom_photo(tmp_path / "photo.dcm", 1, **PATIENT)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    port = free_port()
    command = (
        f"{sys.executable} -m lesionseg segment #p/#f -o {tmp_path}/outline.dcm -c bundled "
        f"--report {tmp_path}/report.dcm"
    )
    # +xy takes JPEG, -pm the class of dermoscopic photos, which DCMTK 3.6.7 does not know yet.
    process = subprocess.Popen(
        ["storescp", "+xy", "-pm", "-xcr", command, "-xs", "-od", str(inbox), str(port)]
    )
    try:
        wait_for(port, process)
        send = ["dcmsend", "127.0.0.1", str(port), str(photo)]
        subprocess.run(send, check=True, capture_output=True)
        for _ in range(600):
            if (tmp_path / "outline.dcm").exists():
                break
            time.sleep(0.1)
    finally:
        process.terminate()
        process.wait(30)
    outline = pydicom.dcmread(tmp_path / "outline.dcm")
    assert (outline.Modality, outline.PatientID) == ("SEG", "4711")
    assert pydicom.dcmread(tmp_path / "report.dcm").Modality == "SR"
