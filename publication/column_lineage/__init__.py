"""Where every figure of a mart comes from, column by column, and that nothing personal comes with it.

``following.of`` follows the columns of the compiled dbt project back to the conformed tables, ``check`` holds the marts
to the rule of docs/decisions/0013. Neither needs a database or data. Only ``following`` takes time to import.
"""

from infra.lineage.graph import ROWS, Column, Edge, Lineage, Node
from publication.column_lineage.checking import Leak, check

__all__ = ["ROWS", "Column", "Edge", "Leak", "Lineage", "Node", "check"]
