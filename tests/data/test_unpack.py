"""Archives: nothing is written outside of the folder, whatever the members are called."""

import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments.data.sources import unpack as unpack_module
from experiments.data.sources.unpack import is_archive, unpack
from experiments.errors import PaddockError

ESCAPES = [
    "../evil",
    "a/../../evil",
    "/tmp/paddock-evil",
    "..\\evil",
    "C:\\evil",
    "a/../../../evil",
]


def everything(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.suffix != ".lock")


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in members.items():
            packed.writestr(zipfile.ZipInfo(name), content)
    return path


def tar_of(path: Path, members: list[tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz") as packed:
        for entry in members:
            packed.addfile(entry, io.BytesIO(b"x" * entry.size))
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    made.size = 3 if kind == tarfile.REGTYPE else 0
    return made


@pytest.mark.parametrize("name", ESCAPES)
def test_zip_that_escapes(name: str, tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"good": b"1", name: b"2"})
    with pytest.raises(PaddockError, match="outside"):
        unpack(archive, tmp_path / "out")
    assert everything(tmp_path) == ["a.zip", "out"]
    assert not Path("/tmp/paddock-evil").exists()


@pytest.mark.parametrize("name", ESCAPES)
def test_tar_that_escapes(name: str, tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "a.tar.gz", [entry("good"), entry(name)])
    with pytest.raises(PaddockError, match="outside"):
        unpack(archive, tmp_path / "out")
    assert everything(tmp_path) == ["a.tar.gz", "out"]


@pytest.mark.parametrize(
    "member",
    [
        entry("link", tarfile.SYMTYPE, "/etc/passwd"),
        entry("link", tarfile.SYMTYPE, "good"),
        entry("link", tarfile.LNKTYPE, "../../x"),
        entry("pipe", tarfile.FIFOTYPE),
        entry("device", tarfile.CHRTYPE),
    ],
)
def test_tar_of_links_and_devices(member: tarfile.TarInfo, tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "a.tar.gz", [entry("good"), member])
    with pytest.raises(PaddockError, match="link or a device"):
        unpack(archive, tmp_path / "out")
    assert everything(tmp_path) == ["a.tar.gz", "out"]


def test_zip_of_links(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(info, "/etc/passwd")
    with pytest.raises(PaddockError, match="link"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert everything(tmp_path) == ["a.zip", "out"]


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack_module, "MOST_MEMBERS", 3)
    archive = zip_of(tmp_path / "a.zip", {str(i): b"" for i in range(4)})
    with pytest.raises(PaddockError, match="4 members"):
        unpack(archive, tmp_path / "out")
    assert everything(tmp_path) == ["a.zip", "out"]


CLASHES = [("x", "x"), ("Data.csv", "data.CSV"), ("d/x", "d\\x"), ("caf\u00e9", "cafe\u0301")]


@pytest.mark.parametrize("names", CLASHES)
@pytest.mark.parametrize("kind", ["a.zip", "a.tar.gz"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_would_be_one_file(names: tuple[str, str], kind: str, tmp_path: Path) -> None:
    archive = tmp_path / kind
    if kind == "a.zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for name in names:
                packed.writestr(zipfile.ZipInfo(name), b"1")
    else:
        tar_of(archive, [entry(name) for name in names])
    with pytest.raises(PaddockError, match="would be one file") as caught:
        unpack(archive, tmp_path / "out")
    assert all(repr(name) in str(caught.value) for name in names)
    assert everything(tmp_path) == [kind, "out"]


@pytest.mark.parametrize("kind", ["a.zip", "a.tar.gz"])
def test_a_name_that_is_too_long(kind: str, tmp_path: Path) -> None:
    name = "d/" + "n" * 300
    archive = tmp_path / kind
    if kind == "a.zip":
        zip_of(archive, {"good": b"1", name: b"2"})
    else:
        tar_of(archive, [entry("good"), entry(name)])
    with pytest.raises(PaddockError, match=r"'n{40}'\.\.\. has 300 letters"):
        unpack(archive, tmp_path / "out")
    assert everything(tmp_path) == [kind, "out"]


@pytest.mark.parametrize("kind", ["a.zip", "a.tar.gz", "a.inter.gz"])
def test_what_grows_too_much(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack_module, "SMALL_BYTES", 1 << 20)
    zeros = bytes(1 << 22)
    archive = tmp_path / kind
    if kind == "a.zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("zeros", zeros)
    elif kind == "a.tar.gz":
        with tarfile.open(archive, "w:gz") as tar:
            large = tarfile.TarInfo("zeros")
            large.size = len(zeros)
            tar.addfile(large, io.BytesIO(zeros))
    else:
        archive.write_bytes(gzip.compress(zeros))
    with pytest.raises(PaddockError, match=r"would grow \d{3,4} times"):
        unpack(archive, tmp_path / "out")
    assert everything(tmp_path) == [kind, "out"]
    # As much in proportion, but small.
    monkeypatch.setattr(unpack_module, "SMALL_BYTES", 1 << 23)
    assert unpack(archive, tmp_path / "out").is_dir()


def test_more_than_the_disk_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zip_of(tmp_path / "a.zip", {"x": b"1" * 999})
    monkeypatch.setattr(unpack_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=998))
    with pytest.raises(PaddockError, match="make room"):
        unpack(archive, tmp_path / "out")
    assert everything(tmp_path) == ["a.zip", "out"]


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.inter.gz"])
@pytest.mark.parametrize("cut", [False, True])
def test_damaged(name: str, cut: bool, tmp_path: Path) -> None:
    archive = tmp_path / name
    if not cut:
        archive.write_bytes(b"<html>Not found</html>")
    elif name == "a.zip":
        archive.write_bytes(zip_of(tmp_path / "b.zip", {"x": b"1" * 999}).read_bytes()[:-30])
    elif name == "a.tar.gz":
        whole = tar_of(tmp_path / "b.tar.gz", [entry(f"x{i}") for i in range(9)])
        archive.write_bytes(whole.read_bytes()[:-30])
    else:
        archive.write_bytes(gzip.compress(b"1" * 999)[:-5])
    with pytest.raises(PaddockError, match=f"{name} is damaged"):
        unpack(archive, tmp_path / "out")
    assert everything(tmp_path / "out") == []


def test_unpacked_once_and_again_when_it_changes(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"data/x": b"1", "data/y": b"2"})
    folder = unpack(archive, tmp_path / "out")
    assert (folder.name, everything(folder)) == ("data", ["x", "y"])
    (folder / "mark").touch()
    assert unpack(archive, tmp_path / "out") == folder
    assert (folder / "mark").exists()
    zip_of(archive, {"data/x": b"other"})
    assert (unpack(archive, tmp_path / "out") / "x").read_bytes() == b"other"


@pytest.mark.parametrize("name", ["a.zip", "A.ZIP", "a.tar.gz", "a.tgz", "a.inter.gz"])
def test_archives_by_name(name: str) -> None:
    assert is_archive(name)
    assert not is_archive("a.json.gz")
    assert not is_archive("a.csv")
