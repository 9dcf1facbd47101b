-- What lists of runs walk; see `daemon/store/walks.py`. Only ends that are rare by themselves: what goes well is not in it.
CREATE INDEX runs_by_bad_end ON runs (workflow, status, app, key)
    WHERE status IN ('reverted', 'failed', 'cancelled');
-- The kind and the name of a trigger, with a colon between them: what is in the second and in the fourth quotation marks.
-- Not by way of JSON: what makes a text of bytes depends on the database's encoding, so no index may use it.
CREATE INDEX runs_by_trigger ON runs (
    (left(split_part(encode(trigger, 'escape'), '"', 4) || ':' || split_part(encode(trigger, 'escape'), '"', 8), 300)
        COLLATE "C"),
    app,
    key
);
