-- Groups the dead letters by reason, the largest group first. It looks at no more than `most` dead letters.
select d.reason, d.watch, pg_catalog.count(*) as number, pg_catalog.max(d.failed_at) as newest
from (select l.reason, l.watch, l.failed_at from bridge.dead_letter as l limit %(most)s) as d
group by 1, 2
order by 3 desc, 1, 2
limit 50
