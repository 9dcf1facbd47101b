-- The hash of the body that counted: an event that comes again with another one can be told.
ALTER TABLE handled ADD COLUMN body_hash BLOB NOT NULL DEFAULT x'';
-- AMQP properties, as they are marshalled, of a delivery that goes back to RabbitMQ; NULL for those of the embedded bus.
ALTER TABLE deliveries ADD COLUMN properties BLOB;

-- What is known of deliveries that belong to a broker. `mark` is empty unless the event came without an id.
CREATE TABLE receipts (
    app TEXT NOT NULL,
    subscriber TEXT NOT NULL,
    source TEXT NOT NULL,
    event_name TEXT NOT NULL,
    event_id TEXT NOT NULL,
    mark TEXT NOT NULL,
    owner TEXT NOT NULL,
    starts INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    due_us INTEGER NOT NULL,
    first_seen_us INTEGER NOT NULL,
    PRIMARY KEY (app, subscriber, source, event_name, event_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX receipts_by_mark ON receipts (app, subscriber, mark, event_id) WHERE mark <> '';
CREATE INDEX receipts_by_time ON receipts (app, first_seen_us);
