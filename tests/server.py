"""A web server on loopback that can misbehave, for the tests of the download."""

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Act:
    """How one request is answered; left as it is, the answer is right."""

    status: int | None = None  # an error instead of the file
    cut: int | None = None  # close after so many bytes of the body
    stall: int | None = None  # say nothing more after so many bytes
    ignore_range: bool = False
    shifted_range: int = 0  # send a part that starts so many bytes off
    claim: int | None = None  # the Content-Length; 0 for none at all
    body: bytes | None = None  # other bytes than the file's


@dataclass
class Server:
    """`files` by path; `acts` are used up one by one for each path, then `always` holds."""

    files: dict[str, bytes]
    acts: dict[str, list[Act]] = field(default_factory=dict)
    always: Act = Act()
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range
    released: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Server":
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def base(self) -> str:
        """The address of the server, with no slash at its end."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def ranges(self, path: str) -> list[str | None]:
        """The Range of each request for `path`, None where it had none."""
        return [wanted for asked, wanted in self.requests if asked == path]


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            wanted = self.headers["Range"]
            server.requests.append((path, wanted))
            script = server.acts.get(path)
            act = script.pop(0) if script else server.always
            if act.status or path not in server.files:
                self.send_error(act.status or 404)
                return
            body = server.files[path] if act.body is None else act.body
            start = 0
            if wanted and not act.ignore_range:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= len(body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(body)}")
                    self.end_headers()
                    return
                start += act.shifted_range
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            claim = len(body) - start if act.claim is None else act.claim
            if claim:
                self.send_header("Content-Length", str(claim))
            self.end_headers()
            self._send(body[start:], act)

        def _send(self, body: bytes, act: Act) -> None:
            until = act.cut if act.cut is not None else act.stall
            try:
                self.wfile.write(body[:until])
                self.wfile.flush()
            except OSError:
                return  # the client has gone
            if act.stall is not None:
                server.released.wait(20)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
