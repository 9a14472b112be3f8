-- Shows standbys that this session lives, since each statement changes its row in pg_stat_activity.
select 1
