-- Turns events that were loaded from another cluster without triggers into dead letters. Returns their number.
select bridge.set_aside() as number
