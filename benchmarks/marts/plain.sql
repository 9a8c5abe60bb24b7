-- Over macros.sql: counts as they are, each for itself.
create or replace macro noise(source, begin, ends) as list_transform(ends, lambda cell: 0);
create or replace macro noise_of(source, cell) as 0;
create or replace macro fitted(leaves, totals) as table
select *, measured as fitted
from query_table(leaves)
where totals is not null;
