-- Returns the watches whose triggers are not as they should be, with their definition, and with the reason if they can't
-- be installed again as they are. If the table was changed or renamed, only the declaration says what is meant now: its
-- name may belong to another table.
select
    w.name,
    bridge._definition(w) as definition,
    case
        when not exists (select from pg_class as c where c.oid = w.relation) then 'its table was dropped'
        when bridge._fingerprint(w) = w.fingerprint then null
        else coalesce(bridge._missing(bridge._definition(w), w.relation), 'its table was changed or renamed')
    end as reason
from bridge.watch as w
where w.removed_at is null and w.name = any (select d.name from bridge.drift() as d)
order by w.name
