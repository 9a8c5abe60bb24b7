"""``python -m infra.machines.access_log [PORT]``: the service ``access-log``; a port when MinIO is the store."""

import sys

from infra.machines.access_log.receiver import serve
from infra.settings import Settings

serve(Settings(), int(sys.argv[1]) if len(sys.argv) > 1 else None)
