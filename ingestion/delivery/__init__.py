"""How files come in: drop folder and bucket, notes, what a delivery declares, landing."""
