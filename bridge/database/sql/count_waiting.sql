-- Counts the waiting events of each of these streams up to a limit, and returns the oldest time among those counted.
-- Times outside Python's range (read_window.sql) are left out.
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
