"""What everything stands on: settings, object store, catalog, database, keys, services, roles, command line."""
