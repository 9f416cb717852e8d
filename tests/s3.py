"""A server of S3 on this machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

# Drawn anew, as a run keeps the text of sources that are not committed.
KEY_ID, SECRET = f"AKIA{token_hex(8).upper()}", f"{token_hex(10)}+/{token_hex(9)}"


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a server that has no bucket; the environment names the server and its credentials."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, value)
    try:
        yield boto3.client("s3")
    finally:
        server.stop()
