-- What is known of each job, whoever fires it: until when it is dealt with, whose definition counts, whether it is paused.
CREATE TABLE jobs (
    app TEXT COLLATE "C" NOT NULL,
    job TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    times TEXT COLLATE "C" NOT NULL,
    deployed_us BIGINT NOT NULL,
    dealt_us BIGINT NOT NULL,
    used BIGINT NOT NULL,
    dropped_us BIGINT,
    paused_us BIGINT,
    paused_by TEXT COLLATE "C" NOT NULL,
    paused_reason TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (app, job)
);

INSERT INTO jobs
SELECT app, job, '', '', 0, max(scheduled_us), count(*) FILTER (WHERE state NOT IN ('skipped', 'missed')), NULL::BIGINT, NULL::BIGINT, '', ''
FROM firings GROUP BY app, job;

-- When the first process came up that had all its jobs in this way; `processes` says who has them so now.
CREATE TABLE deployments (
    app TEXT COLLATE "C" NOT NULL,
    hash TEXT COLLATE "C" NOT NULL,
    first_us BIGINT NOT NULL,
    PRIMARY KEY (app, hash)
);

ALTER TABLE processes ADD COLUMN deployment TEXT COLLATE "C" NOT NULL DEFAULT '';

CREATE TABLE job_orders (
    position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app TEXT COLLATE "C" NOT NULL,
    job TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    by TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    at_us BIGINT NOT NULL
);

CREATE INDEX job_orders_by_job ON job_orders (app, job, position);
CREATE INDEX job_orders_by_time ON job_orders (app, at_us);

ALTER TABLE firings ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE firings ADD COLUMN due_us BIGINT;
ALTER TABLE firings ADD COLUMN trigger TEXT COLLATE "C" NOT NULL DEFAULT 'schedule';
ALTER TABLE firings ADD COLUMN by TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE firings ADD COLUMN reason TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE firings ADD COLUMN failures BYTEA NOT NULL DEFAULT '[]';

UPDATE firings SET state = 'waiting' WHERE state = 'running' AND attempt = 0;

DROP INDEX firings_running;
CREATE INDEX firings_running ON firings (app, owner) WHERE state IN ('waiting', 'running');
CREATE INDEX firings_open ON firings (app, job, scheduled_us) WHERE state IN ('waiting', 'running');
