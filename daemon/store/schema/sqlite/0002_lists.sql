-- What lists of runs walk; see `daemon/store/walks.py`. Only ends that are rare by themselves: what goes well is not in it.
CREATE INDEX runs_by_bad_end ON runs (workflow, status, app, key)
    WHERE status IN ('reverted', 'failed', 'cancelled');
CREATE INDEX runs_by_trigger ON runs (
    (json_extract(CAST(trigger AS TEXT), '$.kind') || ':' || json_extract(CAST(trigger AS TEXT), '$.name')), app, key
);
