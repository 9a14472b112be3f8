-- The search_path that the role, the database or the server has configured.
set search_path to default
