"""A lake starts, stops, and comes back from whatever is done to it."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from full_disk import small_disk

from calanque.cli.commands import diagnosis
from infra import database, endpoints, object_store
from infra.machines.services import accounts, postgres, processes
from infra.machines.services import lake as services
from infra.machines.services.model import ServiceError
from infra.machines.services.ports import is_free, load
from infra.settings import Settings

pytestmark = [pytest.mark.live, pytest.mark.slow]


def new_home() -> Settings:
    home = Path(tempfile.mkdtemp(prefix="calanque-life-"))
    home.chmod(0o755)
    return Settings(home=home, object_store="seaweedfs", quiet=True)


def remove(settings: Settings) -> None:
    services.down(settings)
    shutil.rmtree(settings.home, ignore_errors=True)


@pytest.fixture(scope="module")
def own() -> Iterator[Settings]:
    """A lake that these tests may kill."""
    settings = new_home()
    try:
        yield settings
    finally:
        remove(settings)


@pytest.fixture
def up(own: Settings) -> Settings:
    services.up(own, airflow=False)
    return own


def pids(settings: Settings) -> dict[str, int | None]:
    return {service.name: service.pid for service in services.status(settings) if service.state == "up"}


def write(settings: Settings, text: str) -> None:
    """Leave ``text`` in the store and in the database."""
    body = text.encode()
    object_store.client(settings, "admin").put_object("docs", f"notes/{text}", io.BytesIO(body), len(body))
    with database.connect(settings, "admin", "lake", autocommit=True) as connection:
        connection.execute("create table if not exists public.note (text text)")
        connection.execute("insert into public.note values (%s)", [text])


def reads_back(settings: Settings, text: str) -> bool:
    answer = object_store.client(settings, "admin").get_object("docs", f"notes/{text}")
    stored = answer.read().decode()
    answer.close()
    with database.connect(settings, "admin", "lake") as connection:
        rows = connection.execute("select text from public.note where text = %s", [text]).fetchall()
    return stored == text and rows == [(text,)]


def eventually(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        time.sleep(0.2)


def test_up_again_changes_nothing(up: Settings) -> None:
    before = pids(up)
    services.up(up, airflow=False)
    assert set(before) == {"access-log", "seaweedfs", "postgres"}
    assert pids(up) == before


def test_down_leaves_no_process_and_up_brings_everything_back(up: Settings) -> None:
    write(up, "restart")
    ports = load(up)
    assert services.down(up)
    assert list(processes.of_lake(up)) == []
    assert not [path for port in ports.values() for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")]  # noqa: S108
    assert all(is_free(port) for port in ports.values())
    with pytest.raises(endpoints.NotRunning, match="calanque up"):
        endpoints.load(up)
    services.up(up, airflow=False)
    assert load(up) == ports
    assert reads_back(up, "restart")


def test_down_twice_says_that_nothing_ran(up: Settings) -> None:
    assert services.down(up)
    assert not services.down(up)


@pytest.mark.parametrize("name", ["seaweedfs", "postgres"])
def test_a_killed_service_comes_back_by_itself(up: Settings, name: str) -> None:
    write(up, f"killed-{name}")
    killed = pids(up)[name]
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: pids(up).get(name) not in {None, killed})
    assert reads_back(up, f"killed-{name}")


def test_what_is_started_while_a_lake_is_stopped_is_stopped_too(up: Settings) -> None:
    """A program that answers the request to end by starting another, which does not end for being asked."""
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    reborn = (
        "import signal, subprocess, sys, time\n"
        f"def again(*_): subprocess.Popen([sys.executable, '-c', {stubborn!r}]); sys.exit()\n"
        "signal.signal(signal.SIGTERM, again); print('ready', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        (sys.executable, "-c", reborn), env={**os.environ, **processes.marks(up, "worker")}, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        processes.stop_left_over(up, "worker", seconds=1)
        assert [name for name, _ in processes.of_lake(up) if name == "worker"] == []


@pytest.mark.parametrize("then", ["up", "down"])
def test_a_killed_supervisor_leaves_nothing_that_up_or_down_does_not_clear(up: Settings, then: str) -> None:
    write(up, f"supervisor-{then}")
    before = {process.pid for _, process in processes.of_lake(up)}
    supervisor = next(process for name, process in processes.of_lake(up) if name == "supervisor")
    supervisor.kill()
    supervisor.wait(10)
    if then == "down":
        assert services.down(up)
        assert list(processes.of_lake(up)) == []
    services.up(up, airflow=False)
    assert before.isdisjoint(process.pid for _, process in processes.of_lake(up))
    assert reads_back(up, f"supervisor-{then}")


def test_everything_killed_at_once_comes_back_with_its_data(up: Settings) -> None:
    write(up, "everything")
    found = [process for _, process in processes.of_lake(up)]
    for process in found:
        process.kill()
    psutil.wait_procs(found, timeout=10)
    services.up(up, airflow=False)
    assert reads_back(up, "everything")


def test_a_lock_file_naming_somebody_else_does_not_keep_postgres_down(up: Settings) -> None:
    services.down(up)
    lock = up.data_dir / "postgres" / "postmaster.pid"
    lock.write_text(f"{os.getppid()}\n{lock.parent}\n0\n{load(up)['postgres']}\n\n127.0.0.1\n\nready\n")
    services.up(up, airflow=False)
    assert "postgres" in pids(up)


def test_a_port_taken_meanwhile_is_chosen_again(up: Settings) -> None:
    write(up, "ports")
    services.down(up)
    before = load(up)
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", before["s3"]))
        squatter.listen()
        services.up(up, airflow=False)
        after = load(up)
        assert after["s3"] != before["s3"]
        assert {**after, "s3": 0} == {**before, "s3": 0}
        assert reads_back(up, "ports")


def test_every_internal_port_may_move(up: Settings) -> None:
    write(up, "moved")
    services.down(up)
    before = load(up)
    (up.run_dir / "ports.json").unlink()
    services.up(up, airflow=False)
    assert set(load(up).values()).isdisjoint(before.values())
    assert reads_back(up, "moved")


def test_two_ups_at_once_start_one_lake(up: Settings) -> None:
    services.down(up)
    command = (sys.executable, "-m", "calanque.cli", "up", "--without-airflow")
    environment = {**os.environ, "CALANQUE_HOME": str(up.home)}
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    running = [name for name, _ in processes.of_lake(up)]
    assert running.count("supervisor") == 1
    assert running.count("seaweedfs") == 1


def test_two_lakes_share_nothing(up: Settings) -> None:
    other = new_home()
    try:
        services.up(other, airflow=False)
        write(up, "one")
        write(other, "two")
        assert set(load(up).values()).isdisjoint(load(other).values())
        names = {found.object_name for found in object_store.client(other, "admin").list_objects("docs", "notes/")}
        assert names == {"notes/two"}
        services.down(other)
        assert reads_back(up, "one")
    finally:
        remove(other)


def test_a_service_that_cannot_start_says_which_why_and_what_to_do(up: Settings) -> None:
    services.down(up)
    version = up.data_dir / "postgres" / "PG_VERSION"
    kept = version.read_text()
    version.write_text("9.1\n")
    try:
        with pytest.raises(ServiceError) as caught:
            services.up(up, airflow=False)
    finally:
        version.write_text(kept)
        services.down(up)
    message = str(caught.value)
    assert message.startswith("postgres did not come up")
    assert "9.1" in message  # the end of its log
    assert "What to do:" in message


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """A folder in which nobody may make a file: root is stopped by an attribute only."""
    root = os.getuid() == 0
    if root and shutil.which("chattr") is None:
        pytest.skip("there is no chattr here")
    if root and subprocess.run(["chattr", "+i", folder], check=False, capture_output=True).returncode:
        pytest.skip("chattr cannot close a folder to root here")
    mode = folder.stat().st_mode
    if not root:
        folder.chmod(0o500)
    try:
        yield
    finally:
        if root:
            subprocess.run(["chattr", "-i", folder], check=True)
        else:
            folder.chmod(mode)


def test_a_folder_that_is_closed_is_what_the_remedy_is_about(up: Settings) -> None:
    services.down(up)
    try:
        with (
            closed(up.data_dir / "postgres"),
            pytest.raises(ServiceError, match=r"Permission denied|Operation not permitted") as caught,
        ):
            services.up(up, airflow=False)
    finally:
        services.down(up)
    assert "What to do: open what is named above" in str(caught.value)


def test_a_full_disk_is_what_the_remedy_is_about(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=16) as disk:
        settings = Settings(home=disk / "lake", object_store="seaweedfs", quiet=True)
        try:
            with pytest.raises(ServiceError, match="No space left on device") as caught:
                services.up(settings, airflow=False)
        finally:
            services.down(settings)
        assert "What to do: free some disk space" in str(caught.value)


@pytest.mark.skipif(os.getuid() != 0, reason="only root runs servers as another account")
def test_a_lake_in_a_home_that_only_root_may_enter() -> None:
    base = Path(tempfile.mkdtemp(prefix="calanque-private-"))  # mode 0700
    settings = Settings(home=base / "lake", object_store="seaweedfs", quiet=True)
    try:
        services.up(settings, airflow=False)
        write(settings, "private")
        assert reads_back(settings, "private")
        assert [found.verdict for found in diagnosis.folders(settings)] == ["ok"]
        services.down(settings)
        for folder in (base, settings.home, settings.data_dir):
            folder.chmod(0o711)
        services.up(settings, airflow=False)
        assert reads_back(settings, "private")
        base.chmod(0o700)  # closed while the lake runs
        (found,) = diagnosis.folders(settings)
        account = postgres.system_account()
        if account and accounts.closed_to(account, [Path(sys.prefix)]):  # its programs are in a closed folder too
            assert found.verdict == "ok"  # so it can pass through any
        else:
            assert (found.verdict, str(base) in found.detail) == ("fail", True)
        services.down(settings)
        services.up(settings, airflow=False)
        assert [found.verdict for found in diagnosis.folders(settings)] == ["ok"]
    finally:
        services.down(settings)
        shutil.rmtree(base, ignore_errors=True)


def test_a_home_too_long_for_sockets_still_works() -> None:
    base = Path(tempfile.mkdtemp(prefix="calanque-long-"))
    base.chmod(0o755)
    settings = Settings(home=base / ("deep-" * 18), object_store="seaweedfs", quiet=True)
    try:
        services.up(settings, airflow=False)
        assert set(pids(settings)) == {"access-log", "seaweedfs", "postgres"}
    finally:
        services.down(settings)
        shutil.rmtree(base, ignore_errors=True)
