-- "WEIR"
PRAGMA application_id = 1464158546;

-- Every change of state is one row here, written in the change's own transaction.
CREATE TABLE epoch (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at_unix_ms INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    what TEXT NOT NULL
) STRICT;

-- groups: JSON array of names; attributes: JSON object of arrays; permissions: JSON array.
-- The SQL credential is RFC 5802's SaltedPassword with its salt and iteration count, or absent.
CREATE TABLE principal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    iam TEXT NOT NULL,
    name TEXT NOT NULL,
    groups TEXT NOT NULL,
    attributes TEXT NOT NULL,
    permissions TEXT NOT NULL,
    scram_salt BLOB,
    scram_iterations INTEGER,
    scram_salted_password BLOB,
    UNIQUE (iam, name)
) STRICT;

-- Every group that somebody declared or put a principal into.
CREATE TABLE declared_group (
    name TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- location: JSON. tags: JSON array.
CREATE TABLE source (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    schema_name TEXT NOT NULL,
    table_name TEXT NOT NULL,
    location TEXT NOT NULL,
    tags TEXT NOT NULL,
    next_column INTEGER NOT NULL,
    UNIQUE (schema_name, table_name)
) STRICT;

-- id is counted per source and never used again. type: JSON. tags: JSON array.
CREATE TABLE source_column (
    source INTEGER NOT NULL REFERENCES source ON DELETE CASCADE,
    id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    nullable INTEGER NOT NULL,
    tags TEXT NOT NULL,
    PRIMARY KEY (source, id),
    UNIQUE (source, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE source_owner (
    source INTEGER NOT NULL REFERENCES source ON DELETE CASCADE,
    principal INTEGER NOT NULL REFERENCES principal ON DELETE CASCADE,
    PRIMARY KEY (source, principal)
) STRICT, WITHOUT ROWID;
CREATE INDEX source_owner_principal ON source_owner (principal);

CREATE TABLE selected (
    source INTEGER NOT NULL REFERENCES source ON DELETE CASCADE,
    principal INTEGER NOT NULL REFERENCES principal ON DELETE CASCADE,
    PRIMARY KEY (source, principal)
) STRICT, WITHOUT ROWID;
CREATE INDEX selected_principal ON selected (principal);

-- The key of a source's hash mask, 32 bytes.
CREATE TABLE hash_key (
    source INTEGER PRIMARY KEY REFERENCES source ON DELETE CASCADE,
    secret BLOB NOT NULL
) STRICT;

-- id is the order of authoring. text: the policy's YAML spelling.
CREATE TABLE policy (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    text TEXT NOT NULL
) STRICT;
