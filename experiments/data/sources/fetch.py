"""Downloads: kept once, resumed where they were cut, and checked.

A file under its own name is complete. While it is loaded it is `.NAME.part`, and `.NAME.part.json`
holds what tells whether the server still has the same file.
"""

import hashlib
import re
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests
import urllib3

from experiments import files
from experiments.data.sources import objects
from experiments.data.sources.locate import is_web
from experiments.data.sources.transfer import (
    CHUNK,
    AgainError,
    DownloadBar,
    begin_anew,
    facts_of,
    keep,
    resume,
)
from experiments.errors import PaddockError
from experiments.locks import lock
from experiments.passwords import concealed, hidden, revealed

_BROKEN = (
    requests.ConnectionError,
    requests.Timeout,
    urllib3.exceptions.HTTPError,
    ConnectionError,
)
_PASSING = (408, 425, 429, 500, 502, 503, 504)


def fetch(
    url: str,
    *,
    folder: Path,
    checksum: str | None = None,
    progress: bool = True,
    timeout: float = 30.0,
    tries: int = 5,
    pause: float = 1.0,
) -> Path:
    """The file behind a URL, downloaded unless it is there.

    Parameters
    ----------
    url : str
        Of a web server, or of an object store (`experiments.data.sources.objects`). With or without the
        password that was taken out of it; it is kept and shown without.
    folder : Path
        The file is kept below it, at the host and path of the URL.
    checksum : str, optional
        "sha256:DIGITS" or "md5:DIGITS".
    progress : bool
        Whether a bar is shown, where there is a terminal.
    timeout : float
        Seconds without a byte after which a try is given up.
    tries : int
        Tries in a row that bring no byte, before it is given up.
    pause : float
        Seconds before the second try, doubled for each after it.

    Raises
    ------
    PaddockError
        When the server does not have the file or cannot be reached, or the file is empty, a web page
        or of another checksum; it is deleted then.
    """
    url = concealed(url)
    target = _target(url, folder)
    if not target.is_file():
        with lock(target.with_name(f".{target.name}.lock")):
            if not target.is_file():
                part = target.with_name(f".{target.name}.part")
                with DownloadBar(target.name, shown=progress) as bar:
                    _load(url, part, bar, timeout=timeout, tries=tries, pause=pause)
                _check_content(url, part)
                if checksum:
                    _check(url, part, checksum)
                part.replace(target)
                facts_of(part).unlink(missing_ok=True)
    return target


def _target(url: str, folder: Path) -> Path:
    parts = urlsplit(url)
    names = [unquote(name) for name in parts.path.split("/")]
    host = parts.netloc if is_web(url) else f"{objects.store_of(url)}-{parts.netloc}"
    safe = [re.sub(r"[^\w.+@=-]", "_", name).lstrip(".") for name in (host, *names)]
    if parts.query:
        safe[-1] = f"{files.hash_of(parts.query)[:8]}-{safe[-1]}"
    found = [name for name in safe if name]
    if len(found) < 2:
        raise PaddockError(f"dataset.source: {url} names no file")
    return folder.joinpath(*found)


def _load(
    url: str, part: Path, bar: DownloadBar, *, timeout: float, tries: int, pause: float
) -> None:
    """Bring the whole file into `part`, over as many tries as bring bytes."""
    failed = 0
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            if is_web(url):
                _transfer(url, part, bar, timeout)
            else:
                objects.transfer(url, part, bar, timeout)
            return
        except (*_BROKEN, AgainError) as error:
            after = part.stat().st_size if part.is_file() else 0
            failed = 0 if after > before else failed + 1
            if failed == tries:
                raise PaddockError(
                    f"{url} cannot be downloaded: {_reason(error)}; try again later, or get the "
                    f"file by other means and write dataset.source=PATH"
                ) from None
            time.sleep(pause * 2 ** max(failed - 1, 0))
        except requests.RequestException as error:
            raise PaddockError(f"{url} cannot be downloaded: {hidden(str(error))}") from None


def _transfer(url: str, part: Path, bar: DownloadBar, timeout: float) -> None:
    """One request: the rest of the file where the server goes on with the same one, else all."""
    start, validator = resume(part)
    headers = {"Range": f"bytes={start}-", "If-Range": validator} if validator else {}
    with requests.get(
        revealed(url),
        headers={"Accept-Encoding": "identity", **headers},
        stream=True,
        timeout=timeout,
    ) as answer:
        if answer.status_code in _PASSING:
            raise AgainError(f"the server answers {answer.status_code} {answer.reason}")
        if answer.status_code == 416:
            # The part is as long as the file, or longer: it cannot be trusted.
            part.unlink()
            raise AgainError("the server has no more bytes than were loaded")
        if answer.status_code in (401, 403):
            raise PaddockError(
                f"{url}: the server answers {answer.status_code} {answer.reason}; write "
                f"dataset.source=URL with its password or token, which is kept nowhere, or get the "
                f"file by other means and write dataset.source=PATH"
            )
        if answer.status_code >= 400:
            raise PaddockError(
                f"{url}: the server answers {answer.status_code} {answer.reason}; check the URL, "
                f"or get the file by other means and write dataset.source=PATH"
            )
        resumed = answer.status_code == 206
        if resumed and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink()
            raise AgainError("the server goes on at another byte than was asked for")
        if not resumed:
            start = 0
        if not resumed:
            validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
            begin_anew(url, part, validator)
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        keep(part, start, total, iter(lambda: answer.raw.read(CHUNK), b""), bar)


def _check_content(url: str, part: Path) -> None:
    """Delete the file and say so if it is empty, or a web page where a file of data was asked for."""
    with part.open("rb") as stream:
        head = stream.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        what = "the server answers with a web page, which often asks to log in or to agree"
    elif part.stat().st_size == 0:
        what = "the server answers with an empty file"
    else:
        return
    part.unlink()
    facts_of(part).unlink(missing_ok=True)
    raise PaddockError(
        f"{url}: {what}; nothing is kept; check the URL in a browser, or get the file by other "
        f"means and write dataset.source=PATH"
    )


def _check(url: str, part: Path, checksum: str) -> None:
    """Delete the file and say so unless it has the checksum."""
    kind, _, wanted = checksum.rpartition(":")
    kind = kind or "sha256"
    if kind not in ("md5", "sha256"):
        raise PaddockError(f"dataset.checksum: {checksum!r} must begin with 'sha256:' or 'md5:'")
    with part.open("rb") as stream:
        found = hashlib.file_digest(stream, kind).hexdigest()
    if found != wanted.lower():
        part.unlink()
        facts_of(part).unlink(missing_ok=True)
        raise PaddockError(
            f"{url}: the {kind} of the download is {found}, not {wanted}; it is deleted; try again, "
            f"or correct dataset.checksum if the file was published anew"
        )


def _reason(error: Exception) -> str:
    inner = error.args[0] if error.args else error
    return hidden(" ".join(str(getattr(inner, "reason", None) or inner).split()))
