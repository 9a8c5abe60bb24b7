"""Lineage events in the OpenLineage format: what each run read and wrote, kept as files and sent where it is wanted.

``names`` says what a dataset is called, ``facets`` what is said of it, ``columns`` where its columns come from;
``runs`` tells of a run as it happens, ``outbox`` keeps the events and sends them. The format is written as plain JSON:
the official client takes half a second to import, which is more than most deliveries take (decision 16); the tests hold
every event to the client's own classes.
"""
