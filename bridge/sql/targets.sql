-- What the relay needs of the watches of a stream; removed ones too, since their events may still wait.
select name, task, options::text, (select generation from bridge.installation) as generation
from bridge.watch
