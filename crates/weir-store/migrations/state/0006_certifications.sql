-- What owners vouch for at their sources. text: the policy's YAML spelling then; another one has to be certified anew.
-- epoch: the one that held before.
CREATE TABLE certification (
    policy INTEGER NOT NULL REFERENCES policy ON DELETE CASCADE,
    source INTEGER NOT NULL REFERENCES source ON DELETE CASCADE,
    made_by TEXT NOT NULL,
    at_unix_ms INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (policy, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX certification_source ON certification (source);
