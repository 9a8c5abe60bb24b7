"""Nothing of a lake is readable by others, whatever the umask of whoever starts it and works with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lakes import open_to_others

from infra.machines.services import lake
from infra.machines.services.places import close_to_others
from infra.progress import Progress
from infra.settings import Settings


@pytest.fixture
def home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="calanque-modes-"))
    home.chmod(0o755)
    yield home
    calanque(home, "down")
    shutil.rmtree(home, ignore_errors=True)


def calanque(home: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "calanque.cli", *arguments],
        env={**os.environ, "CALANQUE_HOME": str(home)},
        umask=0,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.live
@pytest.mark.slow
def test_whatever_a_lake_writes_is_its_owner_s_alone(home: Path, tmp_path: Path) -> None:
    """The widest umask there is, which any other only narrows: started, delivered to, worked, cleaned."""
    said = calanque(home, "up", "--without-airflow")
    delivered = tmp_path / "strange.csv"
    delivered.write_text("a,b\n1,2\n")
    delivered.chmod(0o666)
    said += calanque(home, "drop", str(delivered), "--silo", "tows")
    (home / "drop" / "tows" / "folder.csv").mkdir(mode=0o700)
    assert (home / "drop" / "tows" / "strange.csv").exists(), said
    assert open_to_others(home) == [], said
    said += calanque(home, "run", "--silo", "tows")
    said += calanque(home, "retention")
    assert (home / "drop" / "tows" / ".refused").exists(), said
    assert list((home / "logs" / "pipeline").iterdir()), said
    assert open_to_others(home) == [], said


def test_a_lake_that_was_open_is_closed(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "lake")
    for name in ("drop", "data", "keys", "logs"):
        (settings.home / name).mkdir(mode=0o777, parents=True)
        (settings.home / name).chmod(0o777)
    settings.home.chmod(0o777)
    (settings.home / "elsewhere").symlink_to(tmp_path)
    before = tmp_path.stat().st_mode
    close_to_others(settings)
    assert open_to_others(settings.home) == []
    assert tmp_path.stat().st_mode == before


def test_whoever_starts_a_lake_from_a_program_of_theirs_makes_private_files(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "lake")
    before = os.umask(0)
    try:
        with lake.exclusive(settings, Progress(quiet=True)):
            (settings.home / "made").mkdir()
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert open_to_others(settings.home) == []
