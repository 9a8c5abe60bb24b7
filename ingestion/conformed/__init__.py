"""The conformed tables: schemas, commits, and what becomes of rows that are in them."""
