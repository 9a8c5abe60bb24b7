"""``python -m calanque.cli`` is ``calanque``."""

from calanque.cli import main

main()
