"""Downloads from a real server that breaks off, stalls, lies and moves."""

import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from experiments.data.prepare import prepare
from experiments.data.sources.fetch import fetch
from experiments.errors import PaddockError
from experiments.passwords import VARIABLE

from .test_formats import EARLY, META_2014, MOVIES_DAT, RATINGS_DAT, USERS_DAT, _gz, named
from .web import Site, serve

ROOT = Path(__file__).parents[2]
BODY = np.random.default_rng(0).bytes(1_500_000)
CODE = """
import sys
from pathlib import Path
from experiments.data.sources.fetch import fetch
print(fetch(sys.argv[1], folder=Path(sys.argv[2])))
"""


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(Site(content=BODY)) as served:
        yield served


def get(site: Site, folder: Path, name: str = "/data/rows.zip", **settings: object) -> Path:
    quick = {"pause": 0.01, "timeout": 10.0, "progress": False, **settings}
    return fetch(site.url + name, folder=folder, **quick)  # type: ignore[arg-type]


def left(folder: Path) -> list[str]:
    """Every file below, but the locks and the notes of who holds them."""
    return sorted(
        path.name for path in folder.rglob("*") if path.is_file() and ".lock" not in path.suffixes
    )


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class TestWhole:
    def test_downloaded_once(self, site: Site, tmp_path: Path) -> None:
        path = get(site, tmp_path, checksum=f"sha256:{sha(BODY)}")
        assert path.read_bytes() == BODY
        assert get(site, tmp_path) == path
        assert len(site.requests) == 1
        assert left(tmp_path) == ["rows.zip"]

    def test_places_mirror_urls(self, site: Site, tmp_path: Path) -> None:
        site.paths = {"/a/rows.zip": b"a", "/b/rows.zip": b"b", "/a/rows.zip?v=2": b"c"}
        found = [get(site, tmp_path, name) for name in site.paths]
        assert [path.read_bytes() for path in found] == [b"a", b"b", b"c"]
        assert all(path.is_relative_to(tmp_path) for path in found)

    def test_url_that_climbs(self, site: Site, tmp_path: Path) -> None:
        path = get(site, tmp_path / "in", "/..%2f..%2f/%2e%2e/x.zip")
        assert path.is_relative_to(tmp_path / "in")

    def test_redirect(self, site: Site, tmp_path: Path) -> None:
        site.redirect = {"/data/rows.zip": "/moved", "/moved": f"{site.url}/there.zip"}
        path = get(site, tmp_path)
        assert (path.name, path.read_bytes()) == ("rows.zip", BODY)

    def test_no_length(self, site: Site, tmp_path: Path) -> None:
        site.length = False
        assert get(site, tmp_path).read_bytes() == BODY

    def test_slow_server(self, site: Site, tmp_path: Path) -> None:
        site.pace = 0.02
        assert get(site, tmp_path, timeout=5.0).read_bytes() == BODY
        assert len(site.requests) == 1

    def test_md5(self, site: Site, tmp_path: Path) -> None:
        digest = hashlib.md5(BODY).hexdigest()
        assert get(site, tmp_path, checksum=f"md5:{digest.upper()}").read_bytes() == BODY


class TestCut:
    def test_resumed_where_it_was_cut(self, site: Site, tmp_path: Path) -> None:
        site.cut_after = [500_000, 300_000]
        assert get(site, tmp_path).read_bytes() == BODY
        assert site.asked_ranges() == [None, "bytes=500000-", "bytes=800000-"]
        assert left(tmp_path) == ["rows.zip"]

    def test_server_without_ranges(self, site: Site, tmp_path: Path) -> None:
        site.ranges, site.cut_after = False, [500_000]
        assert get(site, tmp_path).read_bytes() == BODY
        assert len(site.requests) == 2

    def test_server_without_a_validator(self, site: Site, tmp_path: Path) -> None:
        site.etag, site.cut_after = None, [500_000]
        assert get(site, tmp_path).read_bytes() == BODY
        assert site.asked_ranges() == [None, None]

    def test_file_that_changed_meanwhile(self, site: Site, tmp_path: Path) -> None:
        site.cut_after = [500_000, 0]
        with pytest.raises(PaddockError):
            get(site, tmp_path, tries=1)
        site.content, site.etag = BODY[::-1], '"two"'
        assert get(site, tmp_path).read_bytes() == BODY[::-1]
        assert site.asked_ranges()[-1] is not None

    def test_a_part_that_is_too_long(self, site: Site, tmp_path: Path) -> None:
        site.cut_after = [500_000, 0]
        with pytest.raises(PaddockError):
            get(site, tmp_path, tries=1)
        part = next(tmp_path.rglob(".rows.zip.part"))
        part.write_bytes(BODY + b"more")
        assert get(site, tmp_path).read_bytes() == BODY

    def test_stalled(self, site: Site, tmp_path: Path) -> None:
        site.stall = 30.0
        assert get(site, tmp_path, timeout=0.3).read_bytes() == BODY
        assert len(site.requests) >= 2

    def test_given_up_after_tries_without_a_byte(self, site: Site, tmp_path: Path) -> None:
        site.cut_after = [500_000, 0, 0, 0]
        with pytest.raises(PaddockError, match=r"rows.zip cannot.*dataset.source=PATH"):
            get(site, tmp_path, tries=3)
        assert len(site.requests) == 4
        assert left(tmp_path) == [".rows.zip.part", ".rows.zip.part.json"]
        assert get(site, tmp_path).read_bytes() == BODY

    def test_busy_server(self, site: Site, tmp_path: Path) -> None:
        site.statuses = [503, 429, 500]
        assert get(site, tmp_path).read_bytes() == BODY


class TestRefused:
    def test_wrong_hash(self, site: Site, tmp_path: Path) -> None:
        with pytest.raises(PaddockError) as caught:
            get(site, tmp_path, checksum=f"sha256:{'0' * 64}")
        assert sha(BODY) in str(caught.value)
        assert "0" * 64 in str(caught.value)
        assert left(tmp_path) == []

    def test_unknown_kind_of_hash(self, site: Site, tmp_path: Path) -> None:
        with pytest.raises(PaddockError, match="'crc:12'"):
            get(site, tmp_path, checksum="crc:12")

    def test_missing(self, site: Site, tmp_path: Path) -> None:
        with pytest.raises(PaddockError, match=r"missing.zip.*404.*dataset.source=PATH"):
            get(site, tmp_path, "/missing.zip")
        assert len(site.requests) == 1
        assert left(tmp_path) == []

    def test_unreachable(self, tmp_path: Path) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}/rows.zip"
            with pytest.raises(PaddockError) as caught:
                fetch(url, folder=tmp_path, tries=2, pause=0.01, progress=False)
        assert url in str(caught.value)
        assert "dataset.source=PATH" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_unknown_host(self, tmp_path: Path) -> None:
        with pytest.raises(PaddockError, match=r"nowhere\.invalid"):
            fetch("http://nowhere.invalid/a.zip", folder=tmp_path, tries=1, progress=False)

    def test_endless_redirect(self, site: Site, tmp_path: Path) -> None:
        site.redirect = {"/data/rows.zip": "/data/rows.zip"}
        with pytest.raises(PaddockError, match="redirect"):
            get(site, tmp_path)


def _start(url: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CODE, url, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


class TestProcesses:
    def test_two_at_once_download_once(self, site: Site, tmp_path: Path) -> None:
        site.pace = 0.02
        processes = [_start(f"{site.url}/rows.zip", tmp_path) for _ in range(2)]
        told = [process.communicate()[0] for process in processes]
        assert [process.returncode for process in processes] == [0, 0]
        assert told[0] == told[1]
        assert Path(told[0].strip()).read_bytes() == BODY
        assert len(site.requests) == 1

    def test_killed_leaves_nothing_that_looks_complete(self, site: Site, tmp_path: Path) -> None:
        site.pace = 0.05
        process = _start(f"{site.url}/rows.zip", tmp_path)
        try:
            while process.poll() is None:
                part = next(tmp_path.rglob(".rows.zip.part"), None)
                if part is not None and part.stat().st_size > 300_000:
                    break
                time.sleep(0.005)
            process.kill()
        finally:
            process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert left(tmp_path) == [".rows.zip.part", ".rows.zip.part.json"]
        site.pace = 0.0
        assert get(site, tmp_path, "/rows.zip").read_bytes() == BODY
        assert site.asked_ranges()[1] is not None


class TestPrepared:
    def test_archive_by_url(self, site: Site, tmp_path: Path, data_dir: Path) -> None:
        archive = tmp_path / "ml-1m.zip"
        with zipfile.ZipFile(archive, "w") as packed:
            for name, content in (
                ("ratings.dat", RATINGS_DAT),
                ("movies.dat", MOVIES_DAT),
                ("users.dat", USERS_DAT),
            ):
                packed.writestr(f"ml-1m/{name}", content.encode("latin-1"))
        site.content = archive.read_bytes()
        dataset = named("ml-1m", Path("x"), checksum=f"sha256:{sha(site.content)}")
        dataset.source = f"{site.url}/ml-1m.zip"
        made = prepare(dataset, data_dir=data_dir)
        assert made.n_interactions == 5
        assert prepare(dataset, data_dir=data_dir).path == made.path
        assert len(site.requests) == 1
        dataset.source = str(archive)
        assert prepare(dataset, data_dir=data_dir).path == made.path

    def test_files_below_a_url(self, site: Site, tmp_path: Path, data_dir: Path) -> None:
        reviews = _gz(tmp_path / "r.gz", [json.dumps(row) for row in EARLY])
        metadata = _gz(tmp_path / "m.gz", [repr(row) for row in META_2014])
        site.paths = {
            "/amazon/reviews_Beauty_5.json.gz": reviews.read_bytes(),
            "/amazon/meta_Beauty.json.gz": metadata.read_bytes(),
        }
        dataset = named("amazon-2014", Path("x"))
        dataset.source = f"{site.url}/amazon/"
        made = prepare(dataset, data_dir=data_dir, progress=False)
        assert made.item_titles[made.item_id("0001")] == 'Cream & "Soap"'
        assert [path for path, _ in site.requests] == list(site.paths)

    def test_one_csv_by_url(self, site: Site, data_dir: Path) -> None:
        site.content = b"user_id,item_id,timestamp\na,b,1\n"
        dataset = named("csv", Path("x"))
        dataset.source = f"{site.url}/rows.csv"
        assert prepare(dataset, data_dir=data_dir).name == "rows"

    def test_atomic_needs_an_archive(self, site: Site, data_dir: Path) -> None:
        dataset = named("atomic", Path("x"))
        dataset.source = f"{site.url}/rows.inter"
        with pytest.raises(PaddockError, match="no archive"):
            prepare(dataset, data_dir=data_dir)


class TestNoData:
    """What a server answers in place of the file is not kept, and its URL is shown without secrets."""

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"", "an empty file"),
            (b"<!DOCTYPE html><title>Log in</title>", "a web page"),
            (b"\xef\xbb\xbf \r\n<HTML lang=en>", "a web page"),
        ],
    )
    @pytest.mark.parametrize("length", [True, False])
    def test_refused(
        self,
        content: bytes,
        told: str,
        length: bool,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv(VARIABLE, "{}")
        with serve(Site(content=content, length=length)) as site:
            url = site.url.replace("//", "//me:s3cret-a@") + "/rows.csv?token=s3cret-b"
            with pytest.raises(PaddockError, match=told) as caught:
                fetch(url, folder=tmp_path, progress=False, pause=0.01)
        shown = site.url.replace("//", "//me@") + "/rows.csv?token=***"
        assert str(caught.value).startswith(f"{shown}: ")
        assert left(tmp_path) == []

    def test_a_password_is_sent_and_kept_nowhere(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(VARIABLE, "{}")
        site.authorization = "Basic bWU6czNjcmV0LWE="
        url = site.url.replace("//", "//me:s3cret-a@") + "/rows.zip?token=s3cret-b"
        wrong = url.replace("s3cret-a", "s3cret-c")
        with pytest.raises(PaddockError, match="answers 401") as caught:
            fetch(wrong, folder=tmp_path, progress=False)
        site.cut_after.append(1000)  # what is left for another try tells of the URL
        with pytest.raises(PaddockError, match="1000 bytes") as cut:
            fetch(url, folder=tmp_path, progress=False, tries=0, pause=0.01)
        parts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        assert any(b"rows.zip?token=***" in part for part in parts)
        path = fetch(url, folder=tmp_path, progress=False)
        assert path.read_bytes() == BODY
        assert site.requests[-1][0] == "/rows.zip?token=s3cret-b"
        said = f"{caught.value} {cut.value} {list(tmp_path.rglob('*'))} {parts}"
        assert "s3cret" not in said
