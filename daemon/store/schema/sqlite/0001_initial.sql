-- Keys are ordered by time, so that new rows go to the end of their trees. Times are microseconds since the epoch.
-- Values are JSON, as BLOB: they are written and read back as the bytes they are.

CREATE TABLE runs (
    key TEXT NOT NULL PRIMARY KEY,
    app TEXT NOT NULL,
    run_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    workflow TEXT NOT NULL,
    status TEXT NOT NULL,
    trigger BLOB NOT NULL,
    input BLOB,
    graph_hash TEXT NOT NULL,
    owner TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    result BLOB,
    errors BLOB NOT NULL,
    ended_us INTEGER,
    wake_us INTEGER,
    waiting_for TEXT NOT NULL,
    deadline_us INTEGER,
    parent_key TEXT,
    cancel_us INTEGER,
    root_key TEXT,
    epoch INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- `app` does not come first on purpose: a list of all runs of an app has to walk the primary key, not sort one of these.
CREATE UNIQUE INDEX runs_by_id ON runs (run_id, app, attempt);
-- `root_key` is in it so that whoever looks for old runs steps over children without going to their rows.
CREATE INDEX runs_by_workflow ON runs (workflow, app, key, root_key);
CREATE INDEX runs_by_status ON runs (status, app, key) WHERE status <> 'completed';
CREATE INDEX runs_to_cancel ON runs (app, owner)
    WHERE cancel_us IS NOT NULL AND status IN ('running', 'waiting', 'compensating');
-- Whether a run waits for a free place comes last: those of a workflow that do not are counted in one go.
CREATE INDEX runs_unended ON runs (app, owner, workflow, (waiting_for = 'a free place'))
    WHERE root_key IS NULL AND status IN ('running', 'waiting', 'compensating');
CREATE INDEX runs_by_root ON runs (root_key) WHERE root_key IS NOT NULL;

-- Not clustered by run: the checkpoints of hundreds of runs that go on together would each dirty a page of their own,
-- where now they are all appended to the same few.
CREATE TABLE steps (
    run_key TEXT NOT NULL,
    name TEXT NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    started_us INTEGER NOT NULL,
    input BLOB,
    output BLOB,
    undo BLOB,
    failures BLOB NOT NULL,
    ended_us INTEGER,
    done_seq INTEGER,
    events BLOB NOT NULL,
    due_us INTEGER,
    awaits TEXT NOT NULL,
    PRIMARY KEY (run_key, name)
) STRICT;

-- `state` is in it, although always the same, because SQLite would go to the row to make sure.
CREATE INDEX steps_awaiting ON steps (awaits, run_key, state) WHERE state = 'waiting' AND awaits <> '';

CREATE TABLE signals (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    app TEXT NOT NULL,
    topic TEXT NOT NULL,
    id TEXT NOT NULL,
    body BLOB NOT NULL,
    at_us INTEGER NOT NULL,
    UNIQUE (app, topic, id)
) STRICT;

CREATE INDEX signals_by_time ON signals (app, topic, at_us);

CREATE TABLE graphs (
    hash TEXT NOT NULL PRIMARY KEY,
    workflow TEXT NOT NULL,
    graph BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    app TEXT NOT NULL,
    origin TEXT NOT NULL,
    seq INTEGER NOT NULL,
    message BLOB NOT NULL,
    created_us INTEGER NOT NULL
) STRICT;

CREATE TABLE handled (
    app TEXT NOT NULL,
    subscriber TEXT NOT NULL,
    source TEXT NOT NULL,
    event_name TEXT NOT NULL,
    event_id TEXT NOT NULL,
    handled_us INTEGER NOT NULL,
    PRIMARY KEY (app, subscriber, source, event_name, event_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX handled_by_time ON handled (app, handled_us);

CREATE TABLE bindings (
    app TEXT NOT NULL,
    subscriber TEXT NOT NULL,
    pattern TEXT NOT NULL,
    PRIMARY KEY (app, subscriber, pattern)
) STRICT, WITHOUT ROWID;

CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    app TEXT NOT NULL,
    subscriber TEXT NOT NULL,
    event_id TEXT NOT NULL,
    event_name TEXT NOT NULL,
    source TEXT NOT NULL,
    headers BLOB NOT NULL,
    body BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    due_us INTEGER NOT NULL,
    first_seen_us INTEGER NOT NULL,
    owner TEXT NOT NULL,
    deliveries INTEGER NOT NULL,
    reason TEXT NOT NULL,
    error TEXT NOT NULL,
    traceback TEXT NOT NULL,
    dead_us INTEGER
) STRICT;

CREATE INDEX deliveries_due ON deliveries (app, subscriber, owner, due_us) WHERE reason = '';
CREATE INDEX deliveries_line ON deliveries (app, subscriber, seq) WHERE reason = '';
CREATE INDEX deliveries_dead ON deliveries (app, subscriber, seq) WHERE reason <> '';

CREATE TABLE firings (
    app TEXT NOT NULL,
    job TEXT NOT NULL,
    scheduled_us INTEGER NOT NULL,
    state TEXT NOT NULL,
    owner TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    started_us INTEGER NOT NULL,
    ended_us INTEGER,
    error TEXT NOT NULL,
    PRIMARY KEY (app, job, scheduled_us)
) STRICT, WITHOUT ROWID;

CREATE INDEX firings_running ON firings (app, owner) WHERE state = 'running';

CREATE TABLE processes (
    owner TEXT NOT NULL PRIMARY KEY,
    app TEXT NOT NULL,
    lease_until_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
