"""The commands that look at a lake, as a person or a program runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from infra import database, endpoints
from infra.settings import Settings


def calanque(*arguments: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "calanque.cli", *arguments),
        env={**os.environ, "CALANQUE_HOME": str(home), "COLUMNS": "200", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_help_names_every_command_and_starts_no_heavy_import(tmp_path: Path) -> None:
    answer = calanque("--help", home=tmp_path)
    assert answer.returncode == 0
    for command in ("up", "down", "status", "env", "doctor"):
        assert f" {command} " in answer.stdout
    heavy = (
        "import sys, calanque.cli; "
        "print(sorted({'polars', 'duckdb', 'pyiceberg', 'airflow', 'minio'} & set(sys.modules)))"
    )
    listed = subprocess.run((sys.executable, "-c", heavy), capture_output=True, text=True, check=True)
    assert listed.stdout.strip() == "[]"


def test_status_of_a_lake_that_was_never_started(tmp_path: Path) -> None:
    answer = calanque("status", "--json", home=tmp_path)
    assert answer.returncode == 1
    assert json.loads(answer.stdout)["up"] is False
    assert "calanque up" in calanque("status", home=tmp_path).stdout


def test_env_of_a_lake_that_is_down_is_a_sentence(tmp_path: Path) -> None:
    answer = calanque("env", home=tmp_path)
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert "calanque up" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_wrong_setting_is_a_sentence(tmp_path: Path) -> None:
    answer = calanque("status", home=tmp_path, CALANQUE_OBJECT_STORE="floppy")
    assert answer.returncode == 1
    assert "object_store" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_doctor_of_a_machine_without_a_lake_says_how_to_start(tmp_path: Path) -> None:
    answer = calanque("doctor", "--json", home=tmp_path)
    assert answer.returncode == 1
    findings = {found["check"]: found for found in json.loads(answer.stdout)["findings"]}
    assert findings["packages"]["verdict"] == "ok"
    assert findings["services"]["verdict"] == "fail"
    assert "calanque up" in findings["services"]["remedy"]


@pytest.mark.live
def test_status_of_a_running_lake(lake: Settings) -> None:
    answer = calanque("status", "--json", home=lake.home)
    status = json.loads(answer.stdout)
    assert answer.returncode == 0
    assert status["up"] is True
    assert status["endpoints"]["s3_url"] == endpoints.load(lake).s3_url
    assert {service["state"] for service in status["services"]} <= {"up", "off"}


@pytest.mark.live
def test_env_lets_a_shell_read_the_marts_and_nothing_else(lake: Settings) -> None:
    answer = calanque("env", home=lake.home)
    assert answer.returncode == 0
    shell = subprocess.run(
        ("sh", "-c", 'eval "$1"; printf %s "$CALANQUE_BI_URI"', "sh", answer.stdout),
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    with psycopg.connect(shell.stdout) as connection:
        assert connection.execute("select current_user, current_database()").fetchone() == ("analyst", "bi")
        with pytest.raises(psycopg.errors.Error):
            connection.execute("create table public.mine (a int)")
    assert f"export CALANQUE_S3_ENDPOINT={endpoints.load(lake).s3_url}" in answer.stdout


@pytest.mark.live
def test_env_gives_a_login_of_airflow_only_by_name(lake: Settings) -> None:
    with_airflow = endpoints.load(lake).model_copy(update={"airflow_url": "http://127.0.0.1:1"})
    before = endpoints.load(lake)
    endpoints.save(lake, with_airflow)
    try:
        plain, named = calanque("env", home=lake.home), calanque("env", "--as", "operator", home=lake.home)
        wrong = calanque("env", "--as", "root", home=lake.home)
    finally:
        endpoints.save(lake, before)
    assert "CALANQUE_AIRFLOW_URL=" in plain.stdout
    assert "AIRFLOW_PASSWORD" not in plain.stdout
    passwords = {path.name: path.read_text() for path in lake.secrets_dir.glob("airflow-*")}
    assert not [name for name, password in passwords.items() if password in plain.stdout]
    assert [name for name, password in passwords.items() if password in named.stdout] == ["airflow-operator"]
    assert "export CALANQUE_AIRFLOW_USER=operator" in named.stdout
    assert (wrong.returncode, "operator" in wrong.stderr) == (2, True)


@pytest.mark.live
def test_doctor_says_who_keeps_others_waiting(lake: Settings) -> None:
    with (
        closing(database.connect(lake, "admin", "lake")) as holder,
        closing(database.connect(lake, "pipeline", "lake")) as waiter,
    ):
        holder.execute("lock table registry.clock in access exclusive mode")
        waiting = threading.Thread(target=lambda: waiter.execute("select count(*) from registry.clock"))
        waiting.start()
        try:
            findings = json.loads(calanque("doctor", "--json", home=lake.home).stdout)["findings"]
        finally:
            holder.rollback()
            waiting.join()
    [found] = [found for found in findings if found["check"] == "locks"]
    assert found["verdict"] == "warn"
    assert f"(process {os.getpid()})" in found["detail"]


@pytest.mark.live
def test_doctor_finds_a_running_lake_healthy(lake: Settings) -> None:
    answer = calanque("doctor", "--json", home=lake.home)
    wrong = [found for found in json.loads(answer.stdout)["findings"] if found["verdict"] == "fail"]
    assert wrong == []
    assert answer.returncode == 0


@pytest.mark.live
def test_doctor_finds_a_secret_that_others_may_read(lake: Settings) -> None:
    secret = lake.secrets_dir / "pg-steward"
    secret.chmod(0o644)
    try:
        answer = calanque("doctor", "--json", home=lake.home)
    finally:
        secret.chmod(0o600)
    findings = {found["check"]: found for found in json.loads(answer.stdout)["findings"]}
    assert answer.returncode == 1
    assert "pg-steward" in findings["secrets"]["detail"]
    assert "chmod" in findings["secrets"]["remedy"]
