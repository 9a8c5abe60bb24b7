"""What everything stands on: settings, stores, catalog, registry, clock, city; and the servers of a lake."""
