"""Download one file over HTTP: resume it, try again, try another address."""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lesionseg.errors import DownloadError, amount, one_line

_CHUNK = 1024**2


@dataclass(frozen=True)
class Patience:
    """Seconds without a byte until a transfer counts as stalled, and before each retry."""

    timeout: float = 30.0
    delays: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)


PATIENCE = Patience()


@dataclass(frozen=True)
class Transfer:
    """A file at `<base>/<path>`, to be downloaded to `part`; its `bytes` are a guess or `exact`.

    `on_bytes` is called at every chunk with the bytes here and those expected, `note` at every
    failed attempt.
    """

    path: str
    part: Path
    bytes: int
    exact: bool
    on_bytes: Callable[[int, int], None]
    note: Callable[[str], None]
    patience: Patience = PATIENCE


class _BrokenError(Exception):
    """A failed attempt; `final` where the same address will not do better."""

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


def fetch(wanted: Transfer, bases: Sequence[str]) -> None:
    """Download the part to its full length, resuming it; the caller verifies it.

    Raises:
        DownloadError: each base failed until patience ended; what arrived is kept.
    """
    name, part, reasons = PurePosixPath(wanted.path).name, wanted.part, []
    for base in bases:
        furthest, delays = size(part), iter(wanted.patience.delays)
        while True:
            try:
                return _attempt(wanted, f"{base.rstrip('/')}/{wanted.path}")
            except _BrokenError as error:
                if size(part) > furthest:  # a long file may break off often and still arrive
                    furthest, delays = size(part), iter(wanted.patience.delays)
                delay = None if error.final else next(delays, None)
                if delay is None:
                    reasons.append(f"{base}: {error}")
                    wanted.note(f"{name}: {reasons[-1]}")
                    break
                wanted.note(f"{name}: {error}; trying again in {delay:g} s")
                time.sleep(delay)
    raise DownloadError(
        f"cannot fetch {name} from {'; '.join(reasons)}; {amount(size(part))} kept: run the same "
        "command again to resume, name a mirror with --mirror, or a folder that holds the zip "
        "file with --archives"
    )


def size(path: Path) -> int:
    """Return the size of the file in bytes, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def _attempt(wanted: Transfer, url: str) -> None:
    """Download the rest of the part, in one attempt."""
    part, have = wanted.part, size(wanted.part)
    least, most = (wanted.bytes, wanted.bytes) if wanted.exact else (0, 2 * wanted.bytes)
    if have > most:
        part.unlink()
        have = 0
    if have == least > 0:
        return
    response = _request(wanted, url, have)
    if response is None:
        return
    with response:
        if response.headers.get_content_type() == "text/html":
            raise _BrokenError(
                "the server sent a web page, not the file; does it ask for a login?", final=True
            )
        rest = response.status == 206  # else all is sent: what is here already is skipped
        if rest and f"{response.headers['Content-Range']}".split("-")[0] != f"bytes {have}":
            part.unlink(missing_ok=True)
            raise _BrokenError("the server sent another part than requested; starting over")
        at, least = have if rest else 0, max(least, have)
        offered = None if response.length is None else at + response.length
        if offered is not None and not least <= offered <= most:
            raise _BrokenError(
                f"expected {wanted.bytes} bytes, the server offers {offered}", final=True
            )
        with part.open("ab") as out:
            while at < most and (chunk := _next_bytes(response, most - at)):
                out.write(chunk[max(0, have - at) :])
                at += len(chunk)
                wanted.on_bytes(at, offered or wanted.bytes)
    if at < (offered or least):
        raise _BrokenError(f"the connection ended after {at} of {offered or least} bytes")


def _request(wanted: Transfer, url: str, have: int) -> http.client.HTTPResponse | None:
    """Ask for the bytes from `have` on; return None where these were all.

    No `If-Range`: two bases may tag the same file differently.
    """
    headers = {"User-Agent": "lesionseg", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        request = urllib.request.Request(url, headers=headers)
        response: http.client.HTTPResponse = urllib.request.urlopen(
            request, timeout=wanted.patience.timeout
        )
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            if not wanted.exact and error.headers["Content-Range"] == f"bytes */{have}":
                return None
            wanted.part.unlink(missing_ok=True)
            raise _BrokenError("the server cannot resume; starting over") from error
        final = error.code < 500 and error.code not in (408, 425, 429)
        raise _BrokenError(f"{error.code} {error.reason}", final) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _BrokenError(one_line(getattr(error, "reason", None) or error)) from error
    return response


def _next_bytes(response: http.client.HTTPResponse, most: int) -> bytes:
    """Read what has arrived; empty at the end."""
    try:
        return response.read1(min(_CHUNK, most))
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(one_line(error)) from error
