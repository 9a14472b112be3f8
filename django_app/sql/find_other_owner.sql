-- Returns this role and the owner of schema bridge, if this role does not have the owner's rights.
select current_user, pg_catalog.pg_get_userbyid(n.nspowner)
from pg_catalog.pg_namespace as n
where n.nspname operator(pg_catalog.=) 'bridge' and not pg_catalog.pg_has_role(n.nspowner, 'usage')
