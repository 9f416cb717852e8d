"""Sources on object stores, against a server of S3 on this machine."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from experiments.config.schema import DatasetConfig
from experiments.data.prepare import prepare
from experiments.data.sources.fetch import fetch
from experiments.errors import PaddockError
from tests.s3 import serving

from .samples import INTER
from .test_fetch import left

CSV = INTER.replace(b":token", b"").replace(b":float", b"").replace(b"\t", b",")
TITLES = b"item_id,title\nx,The Silent Harbour\ny,Red\n"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with serving(monkeypatch) as client:
        client.create_bucket(Bucket="data")
        client.put_object(Bucket="data", Key="all of it/rows%20?.csv", Body=CSV)
        client.put_object(Bucket="data", Key="all of it/titles.csv", Body=TITLES)
        yield client


def get(url: str, folder: Path, **settings: Any) -> Path:
    return fetch(url, folder=folder, progress=False, pause=0.01, **settings)


def test_rows_and_titles_are_prepared_once(store: Any, tmp_path: Path) -> None:
    dataset = DatasetConfig(name="s3", source="s3://data/all of it/rows%20?.csv", format="csv")
    dataset.files.item, dataset.text.title = "titles.csv", "title"
    made = prepare(dataset, data_dir=tmp_path, progress=False)
    assert made.n_interactions == 5
    assert made.item_titles[made.item_id("x") or 0] == "The Silent Harbour"
    (tmp_path / "here.csv").write_bytes(CSV)
    here = DatasetConfig(name="here", source=str(tmp_path / "here.csv"), format="csv")
    assert prepare(here, data_dir=tmp_path).n_interactions == 5
    store.delete_object(Bucket="data", Key="all of it/rows%20?.csv")
    assert prepare(dataset, data_dir=tmp_path, progress=False).path == made.path


def test_goes_on_with_the_same_version_alone(store: Any, tmp_path: Path) -> None:
    url = "s3://data/all of it/titles.csv"
    target = get(url, tmp_path)
    assert target.read_bytes() == TITLES
    tag = store.head_object(Bucket="data", Key="all of it/titles.csv")["ETag"]
    part = target.with_name(f".{target.name}.part")

    def again(kept: bytes, validator: str) -> bytes:
        target.unlink(missing_ok=True)
        part.write_bytes(kept)
        notes = json.dumps({"url": url, "validator": validator})
        part.with_name(f"{part.name}.json").write_text(notes)
        return get(url, tmp_path).read_bytes()

    # Other bytes than the file's show which of them were loaded again.
    assert again(b"ITEM_ID", tag) == b"ITEM_ID" + TITLES[7:]
    assert again(b"ITEM_ID", '"another"') == TITLES
    assert again(TITLES, tag) == TITLES
    assert left(tmp_path) == ["titles.csv"]


def test_refusals(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(url: str, match: str, **settings: Any) -> None:
        with pytest.raises(PaddockError, match=match) as caught:
            get(url, tmp_path, **settings)
        assert "\n" not in str(caught.value)
        assert left(tmp_path) == []

    refused("s3://nothing/rows.csv", r"^s3://nothing/rows.csv: there is no such bucket; check")
    refused("s3://data/rows.csv", r"^s3://data/rows.csv: the bucket has no such key; check")
    refused("s3://data", r"names no file")
    titles = "s3://data/all of it/titles.csv"
    refused(titles, r"the sha256 of the download is", checksum="sha256:00")
    refused("gs://data/rows.csv", r"^dataset.source: gs://data/rows.csv cannot be read: .*gcsfs")
    refused(
        "what://data/rows.csv", r"^dataset.source: what://.* cannot be read: Protocol not known"
    )
    with monkeypatch.context() as patched:
        patched.delenv("AWS_ACCESS_KEY_ID")
        patched.delenv("AWS_SECRET_ACCESS_KEY")
        refused(
            titles, r"there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
        patched.setenv("AWS_ACCESS_KEY_ID", "x")
        refused(titles, r"there are no credentials")
    with monkeypatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        refused(titles, r"cannot be downloaded: .*127\.0\.0\.1:9.*; try again later", tries=2)
    # A package that is not installed cannot be imported.
    code = (
        "import sys; sys.modules['boto3'] = None\n"
        "from pathlib import Path; from experiments.data.sources.fetch import fetch\n"
        f"fetch({titles!r}, folder=Path({str(tmp_path)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "needs the package boto3; install it with: pip install 'paddock[s3]'" in done.stderr


class _Disk(LocalFileSystem):
    """This machine's files, under the name of a store whose driver is not installed here."""

    protocol = "oci"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + str(path).removeprefix("oci://").lstrip("/")


def test_drivers_of_fsspec(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(CSV)
    fsspec.register_implementation("oci", _Disk, clobber=True)
    assert get(f"oci:/{tmp_path}/rows.csv", tmp_path / "data").read_bytes() == CSV
    with pytest.raises(PaddockError, match=r"titles.csv: there is no such file; check the address"):
        get(f"oci:/{tmp_path}/titles.csv", tmp_path / "data")
    assert left(tmp_path / "data") == ["rows.csv"]
