"""``python -m stewardship.metrics [HOST:]PORT``: the service ``metrics``, on loopback when none is named."""

import sys

from infra.settings import Settings
from stewardship.metrics.exporter import HOST, serve

host, _, port = sys.argv[1].rpartition(":")
serve(Settings(), int(port), host or HOST)
