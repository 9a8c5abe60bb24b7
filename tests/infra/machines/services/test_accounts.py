"""PostgreSQL runs as another account when the lake is root's, wherever checkout and lake are."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.machines.services import postgres
from infra.machines.services.accounts import as_account, closed_to

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root runs servers as another account")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The programs in a checkout that only root may enter, as in root's own home."""
    package = postgres.binaries().parents[1]
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    for tree in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(tree, private / tree.name, symlinks=True)
    return private / package.name / postgres.binaries().relative_to(package)


def test_the_programs_work_in_a_checkout_that_only_root_may_enter(programs: Path) -> None:
    account = postgres.system_account()
    assert account is not None
    owner = pwd.getpwnam(account)
    data = programs.parents[2] / "data"
    data.mkdir(mode=0o700)
    os.chown(data, owner.pw_uid, owner.pw_gid)
    command = (str(programs / "initdb"), f"--pgdata={data}", "--username=anybody", "--locale=C", "--no-instructions")
    outcome = subprocess.run(
        as_account(command, account, [data, programs]), capture_output=True, text=True, check=False, cwd="/"
    )
    assert outcome.returncode == 0, outcome.stderr
    assert (data / "PG_VERSION").stat().st_uid == owner.pw_uid


def test_an_account_gets_no_right_that_it_does_not_need(tmp_path: Path) -> None:
    account = postgres.system_account()
    assert closed_to(str(account), [Path("/tmp")]) is None  # noqa: S108
    look = ("grep", "Cap", "/proc/self/status")

    def rights(places: list[Path]) -> dict[str, int]:
        said = subprocess.run(as_account(look, account, places), capture_output=True, text=True, check=True).stdout
        return {line.split(":")[0]: int(line.split()[1], 16) for line in said.splitlines()}

    assert rights([Path("/tmp")])["CapEff"] == 0  # noqa: S108
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    assert rights([private / "file", private])["CapEff"] == 1 << 1  # dac_override
    readable = private.parent / "file"
    readable.touch(mode=0o600)
    assert rights([readable])["CapEff"] == 1 << 1  # a file closed in a folder that may be open


def test_where_root_may_not_let_an_account_through_it_says_which_folder_and_what_to_do(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    program = (
        "from pathlib import Path; from infra.machines.services.accounts import as_account; "
        f"as_account(('true',), 'nobody', [Path({str(tmp_path)!r})])"
    )
    outcome = subprocess.run(
        ["setpriv", "--bounding-set=-setpcap", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "is closed to the account nobody" in outcome.stderr
    assert "chmod o+x" in outcome.stderr
