"""The benchmark (``make bench``): what the lake costs beside the least that the same work could cost.

Every figure is taken in a process of its own, on the machine's own clock and memory, and is told beside a *floor*
measured in the same run on the same store: Polars copying the delivered bytes for ingestion, one hand-written DuckDB
query per family for the marts. A ratio to its floor means something on a busy machine too; seconds do not.
"""
