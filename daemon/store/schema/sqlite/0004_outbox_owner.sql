-- Which process publishes a staged event: the one that staged it, while it lives. What was there before is nobody's.
ALTER TABLE outbox ADD COLUMN owner TEXT NOT NULL DEFAULT '';

CREATE INDEX outbox_by_owner ON outbox (app, owner, position);
-- Whether another process still has an earlier event of the same origin.
CREATE INDEX outbox_by_origin ON outbox (origin, app, seq, owner);
