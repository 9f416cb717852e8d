"""Small atomic folders to prepare, and to break."""

from pathlib import Path

import pytest

from .samples import INTER, ITEM, USER, Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a folder of atomic files; None leaves a file out."""

    def write_folder(
        inter: bytes | None = INTER,
        item: bytes | None = ITEM,
        user: bytes | None = USER,
        *,
        name: str = "small",
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for kind, content in (("inter", inter), ("item", item), ("user", user)):
            if content is not None:
                (folder / f"{name}.{kind}").write_bytes(content)
        return folder

    return write_folder


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "prepared"
