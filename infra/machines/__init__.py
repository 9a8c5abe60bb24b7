"""What runs and keeps a lake: its servers, their roles and buckets, backups, the log of reads."""
