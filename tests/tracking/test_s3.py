"""A run whose data and whose artifacts are on S3, and what it leaves of the credentials."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.s3 import KEY_ID, SECRET, serving

ROOT = Path(__file__).parents[2]


def test_run_reads_and_writes_s3_and_leaves_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    atomic = (ROOT / "datasets" / "tiny" / "tiny.inter").read_text().splitlines()
    header = ",".join(cell.partition(":")[0] for cell in atomic[0].split("\t"))
    rows = [line.replace("\t", ",") for line in atomic[1:]]
    with serving(monkeypatch) as client:
        for bucket in ("data", "artifacts"):
            client.create_bucket(Bucket=bucket)
        client.put_object(Bucket="data", Key="rows.csv", Body="\n".join([header, *rows]).encode())
        done = subprocess.run(
            [
                *(sys.executable, ROOT / "run.py", "model=pop", "dataset=csv", "device=cpu"),
                *("dataset.source=s3://data/rows.csv", "tracking.artifacts=s3://artifacts/mlflow"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        listed = client.list_objects_v2(Bucket="artifacts")["Contents"]
    kept = {each["Key"] for each in listed}
    assert any(key.startswith("mlflow/") and key.endswith("/artifacts/run.json") for key in kept)
    assert any(key.endswith("per_user.parquet") for key in kept)
    assert not (tmp_path / "mlartifacts").exists()
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "run.json" for path in left)
    for content in (done.stdout.encode(), done.stderr.encode(), *map(Path.read_bytes, left)):
        assert KEY_ID.encode() not in content
        assert SECRET.encode() not in content
