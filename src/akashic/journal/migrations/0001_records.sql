CREATE TABLE records (
    position INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    at REAL NOT NULL,
    type TEXT NOT NULL,
    data BLOB NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE UNIQUE INDEX records_by_stream ON records (stream, version);
-- The list of streams, newest first, without a walk over every record.
CREATE INDEX records_that_begin_a_stream ON records (position, stream) WHERE version = 1;
