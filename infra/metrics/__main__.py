"""``python -m infra.metrics [HOST:]PORT``: the service ``metrics``, on the loopback interface when none is named."""

import sys

from infra.metrics.exporter import HOST, serve
from infra.settings import Settings

host, _, port = sys.argv[1].rpartition(":")
serve(Settings(), int(port), host or HOST)
