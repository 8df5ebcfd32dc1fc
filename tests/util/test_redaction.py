"""Passwords and tokens leave the process in no form; ordinary words stay as they are."""

from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import URL
from sweep import swept

from kdbench.errors import UsageError
from kdbench.text.redaction import redacted, redacted_words

PASSWORD = "hunter2-Geheim"
FORMS = [
    "postgresql+psycopg://user:{}@host/name",
    "postgresql://user:{}@host:5432/name?sslmode=require",
    "postgresql://:{}@host/name",
    "mysql+pymysql://user:{}@[::1]:3306/name",
    "oracle+oracledb://user:{}@host:1521/?service_name=x",
    "sqlite+pysqlcipher://:{}@//folder/file.db?kdf_iter=64000",
    "postgresql:///name?host=/socket&user=me&password={}",
    "postgresql://host/name?sslmode=verify-full&sslpassword={}&sslcert=c.pem",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3DX%3BUID%3Dme%3BPWD%3D{}%3BDATABASE%3Dy",
    "mssql+pyodbc:///?odbc_connect=DRIVER=X;UID=me;PWD={}",
    "http://user:{}@host:5000",
    "https://{}@host/path",
    "https://{}:@host/path",
    "https://{}:x-oauth-basic@host/path",
    "git+https://oauth2:{}@host/group/repository.git@main",
    "redis://:{}@host:6379/0",
    "s3://user:{}@bucket/key",
    "https://host/file?X-Amz-Credential=a&X-Amz-Signature={}",
    "https://account.blob/x?sv=2020&sig={}",
    "https://host/file?key={}",
    "https://host/file?api_key={}&page=2",
    "https://host/file#access_token={}",
    "AWS_SECRET_ACCESS_KEY={}",
    "AWS_SESSION_TOKEN='{}'",
    "AWS_SECRET={}",
    "export MLFLOW_TRACKING_PASSWORD={}",
    "PGPASSWORD={} psql",
    "api_key = {}",
    "--api-key={}",
    "connect(user='me', password='{}')",
    "{{'user': 'me', 'password': '{}'}}",
    '{{"client_secret": "{}"}}',
    "Authorization: Bearer {}",
    "{{'Authorization': 'Basic {}'}}",
    "-H Authorization:token {}",
    "X-Api-Key: {}",
    "PRIVATE-TOKEN: {}",
    "password: {}",
]
WRITTEN = [
    "pa/ss/wordy",
    "p@ss@wordy",
    "p%40ss%2Fwordy",
    "pa:ss:wordy",
    "pa?ss=wordy",
    "pa#ss&wordy",
    "p+ss+wordy",
    "wordy",
]


@swept("form", FORMS)
def test_every_form_of_a_secret_is_masked(form: str) -> None:
    for text in (
        form.format(PASSWORD),
        f"cannot open '{form.format(PASSWORD)}': refused",
        f"{form.format(PASSWORD)}\n" * 2,
    ):
        shown = redacted(text)
        assert PASSWORD not in shown
        assert "***" in shown
        assert redacted(shown) == shown


@swept("written", WRITTEN)
@pytest.mark.parametrize("scheme", ["http", "https", "postgresql+psycopg", "mysql", "sqlite+pysqlcipher"])
def test_a_password_may_hold_any_sign(scheme: str, written: str) -> None:
    address = f"{scheme}://user:{written}@host:5432/name"
    for shown in (redacted(f"is {address} there?"), *redacted_words([address, f"--storage={address}"])):
        assert "ss" not in shown.replace("https", "")
        assert "wordy" not in shown
        assert "@host:5432/name" in shown


def test_what_sqlalchemy_writes_is_masked() -> None:
    for password in ("pa/ss@wordy", "pa ss:wordy", "wordy'\"<>", "ünï-wordy"):
        address = URL.create("postgresql+psycopg", "user", password, "host", 5432, "name", {"sslpassword": "wordy2"})
        written = address.render_as_string(hide_password=False)
        for shown in (*redacted_words([written]), redacted(written), redacted(f"could not open {written}: refused")):
            assert "wordy" not in shown
            assert "postgresql+psycopg://user:***@host:5432/name" in shown


SIGNS = st.text(st.sampled_from("azAZ09/@:?#&%+=;, '\"<>[]{}()!$^*-_.~\\"), min_size=3, max_size=14)


@given(SIGNS, st.sampled_from(["postgresql", "mysql+pymysql", "oracle", "mssql+pyodbc", "http", "https"]))
def test_no_password_gets_through_that_sqlalchemy_or_a_person_can_write(signs: str, scheme: str) -> None:
    password = f"Zq{signs}qZ"
    written = URL.create(scheme, "user", password, "host", 5432, "name", {"sslpassword": password})
    escaped, raw = written.render_as_string(hide_password=False), f"{scheme}://user:{password}@host:5432/name"
    shown = [
        redacted(f"no {escaped} here"),
        *redacted_words([escaped, raw, f"--storage={raw}", f"--storage={escaped}"]),
    ]
    for text in shown:
        assert "Zq" not in text
        assert "qZ" not in text


def test_the_word_after_an_option_is_masked_and_an_address_with_spaces() -> None:
    words = ["run", "--api-key", PASSWORD, "--storage", f"mysql://me:a b {PASSWORD}@host/x", "--password"]
    assert redacted_words(words) == ["run", "--api-key", "***", "--storage", "mysql://me:***@host/x", "--password"]


@pytest.mark.parametrize(
    "said",
    [
        "password authentication failed: {}",
        "Failed to parse: http://me:{}@",
        "nonnumeric port: '{}'",
        "FATAL 28P01 with {} for user me",
    ],
)
def test_what_a_library_repeats_of_the_command_or_the_environment_is_masked(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["kdbench", "search", "--storage", "postgresql://me:argv/geheim@host/name"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:uri%2Fgeheim@host")
    monkeypatch.setenv("HF_TOKEN", "env-geheim")
    for secret in ("argv/geheim", "uri%2Fgeheim", "uri/geheim", "env-geheim", "geheim"):
        assert "geheim" not in redacted(said.format(secret))
    assert "geheim" not in redacted(said.format("given geheim"), "mysql://me:given geheim@host")


def test_a_short_password_is_masked_where_it_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:ab/c@host")
    assert redacted("port is 'ab/c', a table of ab") == "port is '***', a table of ab"


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////home/me/a:b@c/optuna.db",
        "sqlite:///runs/mlflow.db",
        "file:///C:/folder@2/x",
        "postgresql://user@host/name",
        "https://host:8080/path?page=2&sort=name",
        "https://github.com/owner/repository@v1",
        "ssh://git@host/repository",
        "a run of sgm_ft: 3 tokens, a token and no secret",
        "unknown recipe key 'student.encoder.token': did you mean 'student.encoder.tokens'?",
        "student.encoder.class_token=False",
        "student.encoder.global_pool=token",
        "the keys = sgm, st; keyless_style=yes",
        "under protocol 'basic': basic description of it",
        "s/it 3.2 @ 5 Hz",
        "http://127.0.0.1:5000 and http://localhost:8080/x are up; write to me@example.org",
        "",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert redacted(text) == text
    assert redacted_words([text]) == [text]


def test_every_error_of_ours_is_masked() -> None:
    error = UsageError(f"http://me:{PASSWORD}@host does not answer", hint=f"Try https://{PASSWORD}@host")
    assert PASSWORD not in f"{error} {error.message} {error.hint} {error.args}"


@pytest.mark.parametrize("unit", ["a", "://", "a:", "@", "password", "'", "token=", "x://a:b@c ", "eyJaaaaaaaa."])
def test_long_texts_take_no_time(unit: str) -> None:
    began = time.process_time()
    redacted(unit * (200_000 // len(unit)))
    assert time.process_time() - began < 2
