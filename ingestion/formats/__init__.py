"""From delivered bytes to batches of source columns: opening, recognising, reading, parsing."""
