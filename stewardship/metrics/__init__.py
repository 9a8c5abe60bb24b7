"""What a lake is worth watching for, in figures that Prometheus reads.

``figures`` looks (registry and ledger, store, catalog, Airflow, disk), ``exporter`` answers whoever has the token.
It knows the register of silos, so that one that never delivered is there too, with zeros.
"""
