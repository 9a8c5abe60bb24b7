"""From candidates to what is published: validation, release files, Iceberg, BI, and looking after them."""
