"""A web server on this machine that misbehaves as it is told."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What is served, how, and what was asked for."""

    content: bytes = b""
    etag: str | None = '"one"'
    ranges: bool = True
    length: bool = True
    cut_after: list[int] = field(default_factory=list)
    """Bytes after which the answers break off, one answer each; the next ones are whole."""
    statuses: list[int] = field(default_factory=list)
    """The first answers, in place of the content."""
    redirect: dict[str, str] = field(default_factory=dict)
    stall: float = 0.0
    """Seconds of silence in the middle of the first answer."""
    pace: float = 0.0
    """Seconds of each 64 KiB."""
    paths: dict[str, bytes] = field(default_factory=dict)
    authorization: str | None = None
    """The header that is asked for; without it the answer is 401."""
    requests: list[tuple[str, Message]] = field(default_factory=list)
    url: str = ""

    def asked_ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.requests]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, site: Site) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.site = site


class _Handler(BaseHTTPRequestHandler):
    """Answers as the server's site says."""

    protocol_version = "HTTP/1.1"

    @property
    def _site(self) -> Site:
        assert isinstance(self.server, _Server)
        return self.server.site

    def do_GET(self) -> None:
        self._site.requests.append((self.path, self.headers))
        self.close_connection = True
        if self._site.statuses:
            self._short(self._site.statuses.pop(0))
        elif self._site.authorization not in (None, self.headers.get("Authorization")):
            self._short(401)
        elif self.path in self._site.redirect:
            self.send_response(302)
            self.send_header("Location", self._site.redirect[self.path])
            self.send_header("Connection", "close")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path.endswith("missing.zip"):
            self._short(404)
        else:
            self._content(self._site.paths.get(self.path, self._site.content))

    def _short(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Connection", "close")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _content(self, content: bytes) -> None:
        start = 0
        asked = self.headers.get("Range")
        same = self.headers.get("If-Range") in (None, self._site.etag)
        if asked and self._site.ranges and same:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self._short(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if self._site.etag:
            self.send_header("ETag", self._site.etag)
        if self._site.length:
            self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Connection", "close")
        self.end_headers()
        stop = self._site.cut_after.pop(0) if self._site.cut_after else len(content)
        body = content[start : start + stop]
        for at in range(0, len(body), 1 << 16):
            if self._site.stall and at:
                stall, self._site.stall = self._site.stall, 0.0
                time.sleep(stall)
            time.sleep(self._site.pace)
            self.wfile.write(body[at : at + (1 << 16)])
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Silence."""

    def handle(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            super().handle()


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """Serve the site on a free port."""
    server = _Server(site)
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
