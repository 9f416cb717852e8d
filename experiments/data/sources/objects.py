"""Files of object stores: s3://BUCKET/KEY by boto3, others by the driver that fsspec has for them.

The endpoint and the credentials are the environment's (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, ...), read by the libraries; nothing here sees them.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from experiments import files
from experiments.data.sources.transfer import (
    CHUNK,
    AgainError,
    DownloadBar,
    begin_anew,
    keep,
    resume,
)
from experiments.errors import PaddockError
from experiments.passwords import hidden, revealed

_WANTED = {
    "NoSuchBucket": "there is no such bucket",
    "NoSuchKey": "the bucket has no such key",
    "404": "the bucket has no such key",
    "AccessDenied": "access is denied to these credentials",
    "403": "access is denied to these credentials",
    "InvalidAccessKeyId": "the server does not know AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY is not the one of AWS_ACCESS_KEY_ID",
}
"""Codes of S3 -> what they mean here."""
_MOVED = ("PreconditionFailed", "412", "InvalidRange", "416")
_PASSING = (
    "InternalError",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "500",
    "502",
    "503",
)


def store_of(url: str) -> str:
    """What tells stores of one scheme apart where files are kept: the scheme, and S3's endpoint."""
    scheme = urlsplit(url).scheme
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if scheme != "s3" or not endpoint:
        return scheme
    return f"{scheme}-{files.hash_of(endpoint)[:8]}"


def transfer(url: str, part: Path, bar: DownloadBar, timeout: float) -> None:
    """One request: the rest of the file where it is still the same one, else all.

    Parameters
    ----------
    url : str
        SCHEME://BUCKET/KEY.
    part : Path
        Where it is loaded.
    bar : DownloadBar
    timeout : float
        Seconds without a byte after which it is given up.

    Raises
    ------
    AgainError
        If another try may go on.
    PaddockError
        If the package for it is not installed, there are no credentials, or no such bucket or file.
    """
    if urlsplit(url).scheme == "s3":
        _from_s3(url, part, bar, timeout)
    else:
        _from_others(url, part, bar)


def _from_s3(url: str, part: Path, bar: DownloadBar, timeout: float) -> None:
    try:
        import boto3
        import botocore.config
        from botocore import exceptions
    except ImportError:
        raise PaddockError(
            f"dataset.source: {url} needs the package boto3; install it with: pip install "
            f"'paddock[s3]'"
        ) from None
    # A key is what it says: "?", "#" and "%20" are characters of it.
    bucket, _, key = url.partition("://")[2].partition("/")
    # Tries are counted by whoever calls, as those of web servers are.
    patience = botocore.config.Config(
        connect_timeout=timeout, read_timeout=timeout, retries={"total_max_attempts": 1}
    )
    start, validator = resume(part)
    asked: dict[str, str] = {"Bucket": bucket, "Key": key}
    if validator:
        asked |= {"Range": f"bytes={start}-", "IfMatch": validator}
    try:
        answer = boto3.session.Session().client("s3", config=patience).get_object(**asked)
        if not validator:
            begin_anew(url, part, answer["ETag"])
        chunks = answer["Body"].iter_chunks(CHUNK)
        keep(part, start, start + answer["ContentLength"], chunks, bar)
    except exceptions.ClientError as error:
        _explain(url, part, str(error.response["Error"]["Code"]))
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError):
        raise PaddockError(
            f"{url}: there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the "
            f"environment, and AWS_ENDPOINT_URL where the store is not Amazon's"
        ) from None
    except (
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
        exceptions.IncompleteReadError,
    ) as error:
        raise AgainError(hidden(str(error))) from None
    except exceptions.BotoCoreError as error:
        raise PaddockError(f"{url} cannot be downloaded: {hidden(str(error))}") from None


def _explain(url: str, part: Path, code: str) -> None:
    """Raise what a code of S3 means."""
    if code in _MOVED:
        part.unlink(missing_ok=True)
        raise AgainError("the store has another version of the file now")
    if code in _PASSING:
        raise AgainError(f"the store answers {code}")
    meant = _WANTED.get(code, f"the store answers {code}")
    raise PaddockError(
        f"{url}: {meant}; check the address, the AWS_ variables of the environment, or get the file by "
        f"other means and write dataset.source=PATH"
    ) from None


def _from_others(url: str, part: Path, bar: DownloadBar) -> None:
    """All of the file; drivers do not tell versions in one way, so that nothing is gone on with."""
    import fsspec

    try:
        system, path = fsspec.url_to_fs(revealed(url))
    except (ImportError, ValueError) as error:
        # fsspec names the package: "Please install gcsfs to access Google Storage".
        reason = " ".join(str(error).split())
        raise PaddockError(f"dataset.source: {url} cannot be read: {reason}") from None
    try:
        size = system.size(path)
        begin_anew(url, part, None)
        with system.open(path, "rb") as stream:
            chunks: Any = iter(lambda: stream.read(CHUNK), b"")
            keep(part, 0, size, chunks, bar)
    except FileNotFoundError:
        raise PaddockError(f"{url}: there is no such file; check the address") from None
    except (AgainError, PaddockError):
        raise
    except Exception as error:
        # Drivers have exceptions of their own, which cannot be named without them.
        raise PaddockError(f"{url} cannot be downloaded: {hidden(str(error))}") from None
