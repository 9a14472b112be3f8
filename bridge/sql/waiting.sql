-- How many events of each of these streams wait, counted up to a limit, and the oldest of those counted. Times that Python
-- can't say are passed over, as in look.sql.
select
    p.stream,
    count(w.at)::bigint as waiting,
    min(w.at) filter (where w.at >= '0001-01-02' and w.at < '9999-12-31') as oldest
from bridge.position as p
left join lateral (
    select e.at
    from bridge.waiting as e
    where e.stream = p.stream
    limit %(at_most)s
) as w on true
where p.stream = any(%(streams)s)
group by 1
