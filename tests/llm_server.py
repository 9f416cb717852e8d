"""A real server on a real port that speaks OpenAI's chat/completions and says what a test has it say."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server:
    """Answers by a script of (state, body, headers), the last again and again, or by `reply`; notes what it was asked."""

    def __init__(self) -> None:
        self.script: list[tuple[int, Any, dict[str, str]]] = [(200, answered("Alien"), {})]
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.delay = threading.Event()
        self.reply: Callable[[dict[str, Any]], Any] | None = None
        self.slow = False
        self.drip = 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append((self.path, dict(self.headers), body))
                if outer.slow:
                    outer.delay.wait(30)
                turn = min(len(outer.asked), len(outer.script)) - 1
                state, told, headers = outer.script[turn]
                if outer.reply is not None:
                    state, told, headers = _written(outer.reply(body))
                content = told if isinstance(told, bytes) else json.dumps(told).encode()
                self.send_response(state)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                outer.send(self.wfile, content)

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def says(self, *answers: Any) -> None:
        """Answer by these, one after another: texts, content that is written as JSON, or numbers of a state."""
        self.asked.clear()
        self.script = [_written(each) for each in answers]

    def send(self, stream: Any, content: bytes) -> None:
        """Write an answer at once, or a byte now and then."""
        if not self.drip:
            stream.write(content)
            return
        for byte in content:
            with contextlib.suppress(OSError):
                stream.write(bytes([byte]))
                stream.flush()
            if self.delay.wait(self.drip):
                return

    def close(self) -> None:
        self.delay.set()
        self._http.shutdown()
        self._http.server_close()


def _written(answer: Any) -> tuple[int, Any, dict[str, str]]:
    if isinstance(answer, int):
        return answer, b"busy", {}
    return 200, answered(answer if isinstance(answer, str) else json.dumps(answer)), {}


def answered(text: str) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server that is closed at the end."""
    made = Server()
    try:
        yield made
    finally:
        made.close()
