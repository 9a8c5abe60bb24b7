"""``python -m infra.metrics PORT``: the service ``metrics``."""

import sys

from infra.metrics.exporter import serve
from infra.settings import Settings

serve(Settings(), int(sys.argv[1]))
