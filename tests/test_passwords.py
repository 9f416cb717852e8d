"""Passwords are found in addresses of every form, taken out, remembered and hidden in what is said."""

import io
import json
import os
import sys

import pytest

from experiments.errors import PaddockError
from experiments.passwords import (
    VARIABLE,
    concealed,
    concealed_override,
    guarded_output,
    hidden,
    revealed,
    without_password,
)


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "{}")


SHOWN = {
    "http://u:pw@h/x": "http://u@h/x",
    "http://:pw@h/x": "http://@h/x",
    "http://u:p@ss@h/x?a=1&token=abcd&b=2#f": "http://u@h/x?a=1&token=***&b=2#f",
    "http://me@firm.com:pw@h/x": "http://me@firm.com@h/x",
    "http://u:p%40%2Fw@[::1]:80/x@y": "http://u@[::1]:80/x@y",
    "http://u:pw@h/path@v2": "http://u@h/path@v2",
    "http://u:pw@h:5000?q=a@b": "http://u@h:5000?q=a@b",
    "postgresql://u:a/b@h/d?sslpassword=q&sslmode=on": "postgresql://u@h/d?sslpassword=***&sslmode=on",
    "postgresql+psycopg://u:12345@h/d": "postgresql+psycopg://u@h/d",
    "sqlite:///runs/x.db?PASSWORD=q&timeout=3": "sqlite:///runs/x.db?PASSWORD=***&timeout=3",
    "s3://b/k?X-Amz-Signature=12ab&X-Amz-Date=1": "s3://b/k?X-Amz-Signature=***&X-Amz-Date=1",
    "https://h/f.zip?access_token=a,b]c&file=1": "https://h/f.zip?access_token=***&file=1",
    "https://h/f.zip?api_key=abc": "https://h/f.zip?api_key=***",
}
OPEN = [
    "http://h:80/a@b",
    "http://u@h:5000/x@v2:3",
    "http://[::1]:80/x@y",
    "sqlite:///C:/x@y",
    "http://h/x?author=me&monkey=1&page=2",
    "/data/a:b@c",
    "postgresql://u:${oc.env:PW}@h/d",
]


def test_an_address_loses_its_passwords_and_gets_them_back() -> None:
    for address, shown in SHOWN.items():
        assert without_password(address) == shown
        assert concealed(address) == shown
        assert revealed(shown) == address
        assert concealed(shown) == shown  # a second time changes nothing, nor what is remembered
        assert revealed(shown) == address
    before = {**json.loads(os.environ[VARIABLE])}
    for address in OPEN:
        assert concealed(address) == address
    assert before == json.loads(os.environ[VARIABLE])


def test_overrides_of_every_spelling_are_concealed() -> None:
    for given, shown in {
        "tracking.uri=http://u:pw@h/x": "tracking.uri=http://u@h/x",
        "+a=http://u:pw@h/x,http://v:pq@h/y": "+a=http://u@h/x,http://v@h/y",
        "a=[http://u:pw@h/x?token=abc]": "a=[http://u@h/x?token=***]",
        "a='http://u:p,w@h/x?token=ab,c'": "a='http://u@h/x?token=***'",
        'a="postgresql://u:it\'s]@h/d"': 'a="postgresql://u@h/d"',
        "a={source: 'http://u:pwd@h/x', b: 3}": "a={source: 'http://u@h/x', b: 3}",
        "a=choice(http://h/x?token=t1,b)": "a=choice(http://h/x?token=***)",
        "a=http://h/x,b": "a=http://h/x,b",
        "model=bpr": "model=bpr",
    }.items():
        # Without quotes a comma may end the value, or belong to a token: rather too much is hidden.
        assert concealed_override(given) == shown
    with pytest.raises(PaddockError, match=r"two passwords for http://u@h/x") as caught:
        concealed_override("dataset.source=http://u:first1@h/x,http://u:second@h/x")
    assert "first1" not in str(caught.value)


def test_what_others_say_of_an_address_hides_every_spelling_of_its_password() -> None:
    concealed("postgresql://u:p%40ss%20w%22%2F1@h/d?token=it's<b>")
    said = "p%40ss%20w%22%2F1 p@ss w\"/1 p%40ss+w%22%2F1 p@ss w\\\"/1 it's<b> it\\'s<b> it&#x27;s&lt;b&gt;"
    assert set(hidden(said).split()) == {"***"}
    # An address that nobody concealed, as a library found it elsewhere.
    assert hidden("no http://a:unknown@h/x!") == "no http://a@h/x!"
    concealed("postgresql://postgres:postgres@h/d")
    assert hidden("the postgresql server") == "the postgresql server"
    concealed("http://u:abc@h/d")
    assert hidden("abc of http://u:abc@h/d") == "abc of http://u@h/d"


def test_a_command_prints_neither_a_password_nor_a_traceback_with_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    streams = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    address = concealed("http://u:s3cret-word@h/d")

    @guarded_output()
    def command() -> None:
        print("to", revealed(address))
        raise ValueError("s3cret-word is wrong")

    with pytest.raises(SystemExit) as caught:
        command()
    assert caught.value.code == 1
    assert streams[0].getvalue() == "to http://u@h/d\n"
    assert streams[1].getvalue().endswith("ValueError: *** is wrong\n")
    assert "s3cret-word" not in streams[1].getvalue()
