"""``python -m infra.cli`` is ``calanque``."""

from infra.cli import main

main()
