-- What is known of each job, whoever fires it: until when it is dealt with, whose definition counts, whether it is paused.
CREATE TABLE jobs (
    app TEXT NOT NULL,
    job TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    times TEXT NOT NULL,
    deployed_us INTEGER NOT NULL,
    dealt_us INTEGER NOT NULL,
    used INTEGER NOT NULL,
    dropped_us INTEGER,
    paused_us INTEGER,
    paused_by TEXT NOT NULL,
    paused_reason TEXT NOT NULL,
    PRIMARY KEY (app, job)
) STRICT, WITHOUT ROWID;

INSERT INTO jobs
SELECT app, job, '', '', 0, max(scheduled_us), sum(state NOT IN ('skipped', 'missed')), NULL, NULL, '', ''
FROM firings GROUP BY app, job;

-- When the first process came up that had all its jobs in this way; `processes` says who has them so now.
CREATE TABLE deployments (
    app TEXT NOT NULL,
    hash TEXT NOT NULL,
    first_us INTEGER NOT NULL,
    PRIMARY KEY (app, hash)
) STRICT, WITHOUT ROWID;

ALTER TABLE processes ADD COLUMN deployment TEXT NOT NULL DEFAULT '';

CREATE TABLE job_orders (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    app TEXT NOT NULL,
    job TEXT NOT NULL,
    action TEXT NOT NULL,
    by TEXT NOT NULL,
    reason TEXT NOT NULL,
    at_us INTEGER NOT NULL
) STRICT;

CREATE INDEX job_orders_by_job ON job_orders (app, job, position);
CREATE INDEX job_orders_by_time ON job_orders (app, at_us);

ALTER TABLE firings ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE firings ADD COLUMN due_us INTEGER;
ALTER TABLE firings ADD COLUMN trigger TEXT NOT NULL DEFAULT 'schedule';
ALTER TABLE firings ADD COLUMN by TEXT NOT NULL DEFAULT '';
ALTER TABLE firings ADD COLUMN reason TEXT NOT NULL DEFAULT '';
ALTER TABLE firings ADD COLUMN failures BLOB NOT NULL DEFAULT x'5b5d';

UPDATE firings SET state = 'waiting' WHERE state = 'running' AND attempt = 0;

DROP INDEX firings_running;
CREATE INDEX firings_running ON firings (app, owner) WHERE state IN ('waiting', 'running');
CREATE INDEX firings_open ON firings (app, job, scheduled_us) WHERE state IN ('waiting', 'running');
