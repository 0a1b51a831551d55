-- "WEIA"
PRAGMA application_id = 1464158529;

-- A row is its JSON record; the other columns are read out of it. The casts take numbers beyond 63 bits to the greatest,
-- where they would be an error: an outcome that can never be written would hold up all records after it.
CREATE TABLE attempt (
    seq INTEGER PRIMARY KEY,
    record TEXT NOT NULL CHECK (json_valid(record)),
    request TEXT NOT NULL AS (record ->> '$.request'),
    at_unix_ms INTEGER NOT NULL AS (cast(record ->> '$.at_unix_ms' AS INTEGER)),
    principal TEXT NOT NULL AS (record ->> '$.actor.authenticated'),
    effective_principal TEXT NOT NULL AS (record ->> '$.actor.effective'),
    door TEXT NOT NULL AS (record ->> '$.door'),
    epoch INTEGER AS (cast(record ->> '$.epoch' AS INTEGER)),
    refused INTEGER NOT NULL AS (coalesce(json_type(record, '$.refusal'), 'null') <> 'null'),
    statement TEXT NOT NULL AS (record ->> '$.statement')
) STRICT;
CREATE UNIQUE INDEX attempt_request ON attempt (request);
CREATE INDEX attempt_at ON attempt (at_unix_ms);
CREATE INDEX attempt_principal ON attempt (principal);
CREATE INDEX attempt_effective_principal ON attempt (effective_principal);

-- Of several outcomes of one request the last one holds.
CREATE TABLE outcome (
    seq INTEGER PRIMARY KEY,
    record TEXT NOT NULL CHECK (json_valid(record)),
    request TEXT NOT NULL AS (record ->> '$.request'),
    at_unix_ms INTEGER NOT NULL AS (cast(record ->> '$.at_unix_ms' AS INTEGER)),
    ended TEXT NOT NULL AS (record ->> '$.ended'),
    rows INTEGER NOT NULL AS (cast(record ->> '$.rows' AS INTEGER)),
    bytes INTEGER NOT NULL AS (cast(record ->> '$.bytes' AS INTEGER)),
    elapsed_ms INTEGER NOT NULL AS (cast(record ->> '$.elapsed_ms' AS INTEGER))
) STRICT;
CREATE INDEX outcome_request ON outcome (request);

-- The sources of an attempt, for searching.
CREATE TABLE attempt_source (
    source TEXT NOT NULL,
    attempt INTEGER NOT NULL REFERENCES attempt,
    decision TEXT NOT NULL,
    PRIMARY KEY (source, attempt)
) STRICT, WITHOUT ROWID;

-- Reads that were let through and have no outcome yet. Not part of the log: the server's reminder of what to close
-- after it was killed.
CREATE TABLE unfinished (
    request TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TRIGGER attempt_follow AFTER INSERT ON attempt BEGIN
    INSERT OR IGNORE INTO attempt_source (source, attempt, decision)
        SELECT value ->> '$.source', NEW.seq, value ->> '$.decision' FROM json_each(NEW.record, '$.sources');
    INSERT INTO unfinished (request) SELECT NEW.request WHERE NOT NEW.refused;
END;
CREATE TRIGGER outcome_follow AFTER INSERT ON outcome BEGIN
    DELETE FROM unfinished WHERE request = NEW.request;
END;

-- Append-only. The insert triggers are against INSERT OR REPLACE, which fires no delete trigger.
CREATE TRIGGER attempt_insert BEFORE INSERT ON attempt
WHEN EXISTS (SELECT 1 FROM attempt WHERE seq = NEW.seq OR request = NEW.record ->> '$.request') BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER attempt_update BEFORE UPDATE ON attempt BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER attempt_delete BEFORE DELETE ON attempt BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER outcome_insert BEFORE INSERT ON outcome
WHEN EXISTS (SELECT 1 FROM outcome WHERE seq = NEW.seq) BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER outcome_update BEFORE UPDATE ON outcome BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER outcome_delete BEFORE DELETE ON outcome BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER attempt_source_update BEFORE UPDATE ON attempt_source BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER attempt_source_delete BEFORE DELETE ON attempt_source BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
