"""Keys: one per silo and month, what is known of those that were used, and the one that signs the ledger's copies."""
