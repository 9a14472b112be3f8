-- Switches the compiler off until the end of the transaction: it takes ten times as long as the statements of the pages.
select pg_catalog.set_config('jit', 'off', true)
