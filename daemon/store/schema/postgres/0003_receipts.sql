-- The hash of the body that counted: an event that comes again with another one can be told.
ALTER TABLE handled ADD COLUMN body_hash BYTEA NOT NULL DEFAULT '';
-- AMQP properties, as they are marshalled, of a delivery that goes back to RabbitMQ; NULL for those of the embedded bus.
ALTER TABLE deliveries ADD COLUMN properties BYTEA;

-- What is known of deliveries that belong to a broker. `mark` is empty unless the event came without an id.
CREATE TABLE receipts (
    app TEXT COLLATE "C" NOT NULL,
    subscriber TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    event_name TEXT COLLATE "C" NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    mark TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    starts BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    due_us BIGINT NOT NULL,
    first_seen_us BIGINT NOT NULL,
    PRIMARY KEY (app, subscriber, source, event_name, event_id)
);

CREATE INDEX receipts_by_mark ON receipts (app, subscriber, mark, event_id) WHERE mark <> '';
CREATE INDEX receipts_by_time ON receipts (app, first_seen_us);
