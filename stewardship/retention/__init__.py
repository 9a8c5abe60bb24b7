"""How long each holding keeps what, derived from the register, and the daily job that holds the lake to it."""
