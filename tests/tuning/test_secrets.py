"""No password is left anywhere: real commands against real servers, and all that they leave behind.

Every address of a configuration gets passwords of its own, in every form; then the bytes of every
file, every output and the command line of every process are searched for each spelling of each.
"""

import base64
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from urllib.parse import quote, quote_plus

import psutil
import pytest

from tests import fork_server
from tests.data.web import Site, serve

from .postgres import Postgres

ROOT = Path(__file__).parents[2]

PROGRAMS = {
    "run": "experiments.commands.run",
    "tune": "experiments.tuning.cli",
    "reports": "reports.__main__",
}
USER = "paula"
SECRETS = {
    "source": "Qs1-pla+in",
    "source token": "Qt2/to ken=",
    "store": "Qm3@st:or/e",
    "storage": "Qo4 p&ss#w?rd",
    "sslpassword": "Qx5-ssl",
    "wrong": "Qw6%wro'ng",
    "unreachable": 'Qu7"no"one',
    "file": "Qf8$in[yaml]",
    "variable": "Qv9~env",
    "sqlite": "Ql0^lite",
}


def encoded(name: str) -> str:
    """A secret as an address spells it."""
    return quote(SECRETS[name], safe="")


def spellings(secret: str) -> set[bytes]:
    """How a secret may be found again: raw, encoded, escaped, as a header carries it."""
    forms = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}
    forms |= {json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    forms.add(base64.b64encode(f"{USER}:{secret}".encode()).decode())
    return {form.encode() for form in forms}


def found_in(content: bytes) -> list[str]:
    """The names of the secrets in some bytes."""
    return [
        name for name, secret in SECRETS.items() if any(f in content for f in spellings(secret))
    ]


def perform(program: str, arguments: tuple[str, ...], folder: Path, output: Path) -> None:
    """A command in this process, its streams in a file."""
    os.chdir(folder)
    os.environ |= {"PYTHONPATH": str(ROOT), "STORE_PASSWORD": SECRETS["variable"]}
    sys.argv = [program, *arguments]
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(written, 1)
    os.dup2(written, 2)
    # MLflow asks a database that is not there for a minute and a half.
    import_module("mlflow.store.db.utils").MAX_RETRY_COUNT = 1
    import_module(PROGRAMS[program]).main()


class Commands:
    """Commands in a folder of their own, and all that they say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: set[tuple[int, str]] = set()
        """Number and command line of every process that the commands started."""

    def __call__(self, program: str, *arguments: str, code: int = 0) -> str:
        """Run to its end, watched; both streams are returned and kept as a file, too."""
        number = len(list(self.folder.glob("output-*")))
        output = self.folder / f"output-{number}"
        process = fork_server.call(perform, program, arguments, self.folder, output)
        while process.poll() is None:
            if program == "tune":
                self._look(process.pid)
            time.sleep(0.3)
        said = output.read_text()
        assert process.returncode == code, said
        return said

    def _look(self, number: int) -> None:
        try:
            for child in psutil.Process(number).children(recursive=True):
                self.lines.add((child.pid, " ".join(child.cmdline())))
        except psutil.Error:
            pass  # ended meanwhile


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A server that gives the data set to who knows the password."""
    archive = shutil.make_archive(
        str(tmp_path / "tiny"), "zip", root_dir=ROOT / "datasets", base_dir="tiny"
    )
    token = f"{USER}:{SECRETS['source']}".encode()
    site = Site(
        content=Path(archive).read_bytes(),
        authorization="Basic " + base64.b64encode(token).decode(),
    )
    with serve(site):
        yield site


@pytest.mark.slow
def test_no_password_is_left_anywhere(
    tmp_path: Path, site: Site, postgres: Postgres, empty_store: Path
) -> None:
    folder = tmp_path / "work"
    conf = folder / "more" / "tracking"
    conf.mkdir(parents=True)
    shutil.copy(empty_store, folder / "mlflow.db")
    nowhere = "127.0.0.1:1"
    host = site.url.removeprefix("http://")
    source = (
        f"dataset.source='http://{USER}:{encoded('source')}@{host}/tiny.zip"
        f"?part=1&token={encoded('source token')}'"
    )
    small = ["model=bpr", "model.epochs=1", "dataset=tiny", "device=cpu", "progress=false"]
    run = Commands(folder)

    # A run, from data behind a password.
    run("run", *small, source)
    assert any("token=Qt2" in path for path, _ in site.requests)
    # A grid, whose store is named by YAML files that hold one, and take one from the environment.
    here = "sqlite:///mlflow.db"
    (conf / "lost.yaml").write_text(f"uri: http://{USER}:{encoded('file')}@{nowhere}/\n")
    (conf / "env.yaml").write_text(
        f"uri: http://{USER}:${{oc.env:STORE_PASSWORD}}@{nowhere}/?token=${{oc.env:STORE_PASSWORD}}\n"
    )
    more = [f"hydra.searchpath=[file://{folder}/more]", "hydra.output_subdir=.hydra"]
    said = run("run", "-m", *small, source, *more, "tracking=lost,env", "seed=1,2")
    assert "was not uploaded" in said
    assert (folder / "runs" / "multirun.yaml").is_file()
    assert list((folder / "runs").rglob(".hydra/config.yaml"))
    # A study of two workers, whose trials are in PostgreSQL.
    storage = postgres.url.replace("tuner@", f"tuner:{encoded('storage')}@")
    storage += f"?sslpassword={encoded('sslpassword')}&connect_timeout=20"
    tune = ["study.n_trials=2", "study.workers=2", "study.final_seeds=1", "study.pruner=none"]
    run("tune", *small, source, *tune, f"study.storage='{storage}'", f"tracking.uri={here}")
    assert len({number for number, line in run.lines if "study.worker=true" in line}) == 2
    # A report, of the store that holds the run.
    run("reports", "dataset=tiny", "dirty=true", f"tracking.uri={here}")
    # What cannot be reached, and what is refused.
    store = f"{USER}:{encoded('store')}@{nowhere}"
    nobody = f"{USER}:{encoded('unreachable')}@{nowhere}"
    wrong = f"dataset.source='http://{USER}:{encoded('wrong')}@{host}/other.zip'"
    run("run", "mode=upload", f"tracking.uri=http://{store}", code=2)
    run("run", "mode=upload", f"tracking.uri=postgresql://{nobody}/db", code=2)
    run(
        "run",
        *small,
        source,
        "seed=3",
        f"tracking.uri='sqlite:///l.db?password={encoded('sqlite')}'",
    )
    said = run("run", *small, wrong, code=2)
    assert "401" in said
    run("tune", *small, *tune, f"study.storage=postgresql://{nobody}/db", "tracking=off", code=2)
    run("tune", *small, f"study.storage='mysql://{nobody}/db'", code=2)
    run("reports", "dataset=tiny", f"tracking.uri=http://{store}", code=2)
    run("run", *small, f"dataset.sourse='http://{nobody}/db'", code=2)

    files = [p for p in folder.rglob("*") if p.is_file() and conf not in p.parents]
    files += [p for p in postgres.folder.rglob("*") if p.is_file()]
    assert len(files) > 100
    left = {str(path): names for path in files if (names := found_in(path.read_bytes()))}
    assert left == {}
    assert found_in("\n".join(map(str, folder.rglob("*"))).encode()) == []
    assert found_in("\n".join(line for _, line in run.lines).encode()) == []
