-- Values inside of nested columns, which policies name and tag like columns. Their types and places follow from the
-- type of the column. within: the id of the column. id is counted with those of columns. tags: JSON array.
CREATE TABLE source_part (
    source INTEGER NOT NULL REFERENCES source ON DELETE CASCADE,
    id INTEGER NOT NULL,
    within INTEGER NOT NULL,
    name TEXT NOT NULL,
    tags TEXT NOT NULL,
    PRIMARY KEY (source, id),
    UNIQUE (source, name)
) STRICT, WITHOUT ROWID;
