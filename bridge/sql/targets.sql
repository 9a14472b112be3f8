-- What the relay needs of the watches; removed ones too, since their events may still wait.
select
    (select generation from bridge.installation) as generation,
    coalesce((select json_object_agg(name, json_build_object('task', task, 'options', options)) from bridge.watch), '{}')::text
        as watches,
    array(select task from bridge.sendable) as sendable
