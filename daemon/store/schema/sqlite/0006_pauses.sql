-- The pauses of a job that are over: what came due in them while no daemon ran is recorded by the next one.
ALTER TABLE jobs ADD COLUMN pauses BLOB NOT NULL DEFAULT x'5b5d';
