"""dbt as a process that never outlives the one that started it: ``python -m publication.builds.dbt_process build ...``.

A build that is killed must not leave a dbt running beside its retry.
"""

from __future__ import annotations

import os
import sys
import threading
import time

_CHECK_SECONDS = 0.5


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_CHECK_SECONDS)
    os._exit(1)


def main() -> int:
    """Run dbt with this process's arguments; 0 when everything passed, 1 when something did not, 2 when dbt broke."""
    parent = int(os.environ.get("CALANQUE_PARENT_PID") or os.getppid())
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    from dbt.cli.main import dbtRunner  # noqa: PLC0415 (slow to import: the watch begins first)

    result = dbtRunner().invoke(sys.argv[1:])
    if result.exception is not None:
        sys.stdout.write(f"{type(result.exception).__name__}: {result.exception}\n")
        return 2
    return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main())
