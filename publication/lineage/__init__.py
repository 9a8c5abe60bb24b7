"""Where every figure of a mart comes from, column by column, and that nothing personal comes with it.

``of`` follows the columns of the compiled dbt project back to the conformed tables; ``check`` holds the marts to the
rule of docs/decisions/0013. Nothing here needs a database or data.
"""

from publication.lineage.checking import Leak, check
from publication.lineage.project import APPROVED, Column, Edge, Lineage, LineageError, Node, of
from publication.lineage.query import NOISE, ROWS

__all__ = ["APPROVED", "NOISE", "ROWS", "Column", "Edge", "Leak", "Lineage", "LineageError", "Node", "check", "of"]
