-- Keys are ordered by time, so that new rows go to the end of their trees. Times are microseconds since the epoch.
-- Values are JSON, as BYTEA: they are written and read back as the bytes they are.

CREATE TABLE runs (
    key TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    app TEXT COLLATE "C" NOT NULL,
    run_id TEXT COLLATE "C" NOT NULL,
    attempt BIGINT NOT NULL,
    workflow TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    trigger BYTEA NOT NULL,
    input BYTEA,
    graph_hash TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    created_us BIGINT NOT NULL,
    updated_us BIGINT NOT NULL,
    result BYTEA,
    errors BYTEA NOT NULL,
    ended_us BIGINT,
    wake_us BIGINT,
    waiting_for TEXT COLLATE "C" NOT NULL,
    deadline_us BIGINT,
    parent_key TEXT COLLATE "C",
    cancel_us BIGINT,
    root_key TEXT COLLATE "C",
    epoch BIGINT NOT NULL
);

-- `app` does not come first on purpose: a list of all runs of an app has to walk the primary key, not sort one of these.
CREATE UNIQUE INDEX runs_by_id ON runs (run_id, app, attempt);
-- `root_key` is in it so that whoever looks for old runs steps over children without going to their rows.
CREATE INDEX runs_by_workflow ON runs (workflow, app, key, root_key);
CREATE INDEX runs_by_status ON runs (status, app, key) WHERE status <> 'completed';
CREATE INDEX runs_to_cancel ON runs (app, owner)
    WHERE cancel_us IS NOT NULL AND status IN ('running', 'waiting', 'compensating');
-- Whether a run waits for a free place comes after the workflow: those of a workflow that do not are counted in one go.
CREATE INDEX runs_unended ON runs (app, owner, workflow, (waiting_for = 'a free place'), key)
    WHERE root_key IS NULL AND status IN ('running', 'waiting', 'compensating');
CREATE INDEX runs_by_root ON runs (root_key) WHERE root_key IS NOT NULL;

CREATE TABLE steps (
    run_key TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    attempts BIGINT NOT NULL,
    started_us BIGINT NOT NULL,
    input BYTEA,
    output BYTEA,
    undo BYTEA,
    failures BYTEA NOT NULL,
    ended_us BIGINT,
    done_seq BIGINT,
    events BYTEA NOT NULL,
    due_us BIGINT,
    awaits TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (run_key, name)
);

CREATE INDEX steps_awaiting ON steps (awaits, run_key) WHERE state = 'waiting' AND awaits <> '';

CREATE TABLE signals (
    position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app TEXT COLLATE "C" NOT NULL,
    topic TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL,
    at_us BIGINT NOT NULL,
    UNIQUE (app, topic, id)
);

CREATE INDEX signals_by_time ON signals (app, topic, at_us);

CREATE TABLE graphs (
    hash TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    workflow TEXT COLLATE "C" NOT NULL,
    graph BYTEA NOT NULL
);

CREATE TABLE outbox (
    position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    app TEXT COLLATE "C" NOT NULL,
    origin TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    message BYTEA NOT NULL,
    created_us BIGINT NOT NULL
);

CREATE TABLE handled (
    app TEXT COLLATE "C" NOT NULL,
    subscriber TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    event_name TEXT COLLATE "C" NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    handled_us BIGINT NOT NULL,
    PRIMARY KEY (app, subscriber, source, event_name, event_id)
);

CREATE INDEX handled_by_time ON handled (app, handled_us);

CREATE TABLE bindings (
    app TEXT COLLATE "C" NOT NULL,
    subscriber TEXT COLLATE "C" NOT NULL,
    pattern TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (app, subscriber, pattern)
);

CREATE TABLE deliveries (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app TEXT COLLATE "C" NOT NULL,
    subscriber TEXT COLLATE "C" NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    event_name TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    headers BYTEA NOT NULL,
    body BYTEA NOT NULL,
    attempt BIGINT NOT NULL,
    due_us BIGINT NOT NULL,
    first_seen_us BIGINT NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    deliveries BIGINT NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    error TEXT COLLATE "C" NOT NULL,
    traceback TEXT COLLATE "C" NOT NULL,
    dead_us BIGINT
);

CREATE INDEX deliveries_due ON deliveries (app, subscriber, due_us, seq) WHERE reason = '' AND owner = '';
CREATE INDEX deliveries_owned ON deliveries (app, subscriber, owner) WHERE reason = '' AND owner <> '';
CREATE INDEX deliveries_line ON deliveries (app, subscriber, seq) WHERE reason = '';
CREATE INDEX deliveries_dead ON deliveries (app, subscriber, seq) WHERE reason <> '';

CREATE TABLE firings (
    app TEXT COLLATE "C" NOT NULL,
    job TEXT COLLATE "C" NOT NULL,
    scheduled_us BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    attempt BIGINT NOT NULL,
    started_us BIGINT NOT NULL,
    ended_us BIGINT,
    error TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (app, job, scheduled_us)
);

CREATE INDEX firings_running ON firings (app, owner) WHERE state = 'running';

CREATE TABLE processes (
    owner TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    app TEXT COLLATE "C" NOT NULL,
    lease_until TIMESTAMPTZ NOT NULL
);

-- The last batch that each writer has committed; it is written with every one of them.
CREATE TABLE batches (
    writer TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    at TIMESTAMPTZ NOT NULL
) WITH (fillfactor = 10);
