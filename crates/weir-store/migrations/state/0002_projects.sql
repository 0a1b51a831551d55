-- row_key: JSON array of ids of columns. event_time: the id of one.
ALTER TABLE source ADD COLUMN row_key TEXT NOT NULL DEFAULT '[]';
ALTER TABLE source ADD COLUMN event_time INTEGER;

-- From here on the salted password is encrypted under the master key.
ALTER TABLE principal RENAME COLUMN scram_salted_password TO scram_sealed_password;

-- Nothing, encrypted under the master key: tells whether a key is the right one.
CREATE TABLE master_key_check (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    sealed BLOB NOT NULL
) STRICT;

-- Why data is used. statement: what whoever acts for it promises; absent: what the purpose above it says.
CREATE TABLE purpose (
    name TEXT PRIMARY KEY,
    statement TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE project (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    equalized INTEGER NOT NULL DEFAULT 0,
    masked_joins INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE project_owner (
    project INTEGER NOT NULL REFERENCES project ON DELETE CASCADE,
    principal INTEGER NOT NULL REFERENCES principal ON DELETE CASCADE,
    PRIMARY KEY (project, principal)
) STRICT, WITHOUT ROWID;
CREATE INDEX project_owner_principal ON project_owner (principal);

CREATE TABLE project_member (
    project INTEGER NOT NULL REFERENCES project ON DELETE CASCADE,
    principal INTEGER NOT NULL REFERENCES principal ON DELETE CASCADE,
    PRIMARY KEY (project, principal)
) STRICT, WITHOUT ROWID;
CREATE INDEX project_member_principal ON project_member (principal);

CREATE TABLE project_source (
    project INTEGER NOT NULL REFERENCES project ON DELETE CASCADE,
    source INTEGER NOT NULL REFERENCES source ON DELETE CASCADE,
    PRIMARY KEY (project, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX project_source_source ON project_source (source);

-- Without effect until it is approved.
CREATE TABLE project_purpose (
    project INTEGER NOT NULL REFERENCES project ON DELETE CASCADE,
    purpose TEXT NOT NULL REFERENCES purpose,
    added_by TEXT NOT NULL,
    added_at_unix_ms INTEGER NOT NULL,
    approved_by TEXT,
    approved_at_unix_ms INTEGER,
    PRIMARY KEY (project, purpose),
    CHECK ((approved_by IS NULL) = (approved_at_unix_ms IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX project_purpose_purpose ON project_purpose (purpose);

-- Evidence: kept when the project or the principal is gone. principal: absent from when the membership ended, and with
-- it the promise.
CREATE TABLE acknowledgement (
    id INTEGER PRIMARY KEY,
    project INTEGER REFERENCES project ON DELETE SET NULL,
    project_name TEXT NOT NULL,
    principal INTEGER REFERENCES principal ON DELETE SET NULL,
    principal_name TEXT NOT NULL,
    purpose TEXT NOT NULL,
    statement TEXT NOT NULL,
    made_by TEXT NOT NULL,
    at_unix_ms INTEGER NOT NULL,
    UNIQUE (project, principal, purpose, statement)
) STRICT;
CREATE INDEX acknowledgement_principal ON acknowledgement (principal);

CREATE TABLE impersonation (
    id INTEGER PRIMARY KEY,
    actor INTEGER NOT NULL REFERENCES principal ON DELETE CASCADE,
    target_principal INTEGER REFERENCES principal ON DELETE CASCADE,
    target_group TEXT REFERENCES declared_group ON DELETE CASCADE,
    CHECK ((target_principal IS NULL) <> (target_group IS NULL)),
    UNIQUE (actor, target_principal),
    UNIQUE (actor, target_group)
) STRICT;
CREATE INDEX impersonation_target_principal ON impersonation (target_principal);
CREATE INDEX impersonation_target_group ON impersonation (target_group);

-- What owners chose for their sources.
CREATE TABLE chosen_policy (
    policy INTEGER NOT NULL REFERENCES policy ON DELETE CASCADE,
    source INTEGER NOT NULL REFERENCES source ON DELETE CASCADE,
    PRIMARY KEY (policy, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX chosen_policy_source ON chosen_policy (source);

-- Kept for good. It counts as long as the source, the principal and the policy are there, and the policy still asks
-- for the approvers that it asked for then: a JSON array, whose places are the slots that approvals fill.
CREATE TABLE subscription_request (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source INTEGER REFERENCES source ON DELETE SET NULL,
    source_name TEXT NOT NULL,
    principal INTEGER REFERENCES principal ON DELETE SET NULL,
    principal_name TEXT NOT NULL,
    policy INTEGER REFERENCES policy ON DELETE SET NULL,
    policy_key TEXT NOT NULL,
    approvers TEXT NOT NULL,
    reason TEXT NOT NULL,
    at_unix_ms INTEGER NOT NULL,
    ended TEXT CHECK (ended IN ('denied', 'withdrawn'))
) STRICT;
CREATE INDEX subscription_request_source ON subscription_request (source);
CREATE INDEX subscription_request_principal ON subscription_request (principal);
CREATE INDEX subscription_request_policy ON subscription_request (policy);

CREATE TABLE subscription_act (
    id INTEGER PRIMARY KEY,
    request INTEGER NOT NULL REFERENCES subscription_request ON DELETE CASCADE,
    at_unix_ms INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    act TEXT NOT NULL CHECK (act IN ('approved', 'denied', 'withdrawn')),
    slot INTEGER,
    until_unix_ms INTEGER,
    reason TEXT,
    CHECK ((act = 'approved') = (slot IS NOT NULL)),
    UNIQUE (request, slot)
) STRICT;

-- Keys of masks, encrypted under the master key. id is counted for each source and project; the greatest is in use, the
-- others are there to unmask. made_at_unix_ms: absent for keys that are older than this table.
CREATE TABLE mask_key (
    source INTEGER REFERENCES source ON DELETE CASCADE,
    project INTEGER REFERENCES project ON DELETE CASCADE,
    id INTEGER NOT NULL,
    made_at_unix_ms INTEGER,
    sealed BLOB NOT NULL,
    CHECK ((source IS NULL) <> (project IS NULL)),
    UNIQUE (source, id),
    UNIQUE (project, id)
) STRICT;
