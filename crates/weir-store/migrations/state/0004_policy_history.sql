-- Every text that a policy has had. came: the epoch that made it. went: the epoch that replaced or removed it; absent
-- while it holds. policy: as in table policy, whose numbers are never used again.
CREATE TABLE policy_version (
    policy INTEGER NOT NULL,
    key TEXT NOT NULL,
    text TEXT NOT NULL,
    came INTEGER NOT NULL,
    went INTEGER,
    PRIMARY KEY (policy, came),
    CHECK (went > came)
) STRICT, WITHOUT ROWID;
CREATE INDEX policy_version_key ON policy_version (key);

-- Since which epoch versions are kept. Those of this epoch came then or earlier.
CREATE TABLE policy_version_kept (
    since INTEGER NOT NULL
) STRICT;
INSERT INTO policy_version_kept SELECT coalesce(max(number), 0) FROM epoch;
INSERT INTO policy_version SELECT id, key, text, (SELECT since FROM policy_version_kept), NULL FROM policy;

-- A change writes its epoch last: the one after the newest is the one that is being made.
CREATE TRIGGER policy_added AFTER INSERT ON policy BEGIN
    INSERT INTO policy_version
        SELECT new.id, new.key, new.text, coalesce(max(number), 0) + 1, NULL FROM epoch;
END;
CREATE TRIGGER policy_replaced AFTER UPDATE OF text ON policy BEGIN
    DELETE FROM policy_version
        WHERE policy = old.id AND came = (SELECT coalesce(max(number), 0) + 1 FROM epoch);
    UPDATE policy_version SET went = (SELECT coalesce(max(number), 0) + 1 FROM epoch)
        WHERE policy = old.id AND went IS NULL;
    INSERT INTO policy_version
        SELECT new.id, new.key, new.text, coalesce(max(number), 0) + 1, NULL FROM epoch;
END;
CREATE TRIGGER policy_removed AFTER DELETE ON policy BEGIN
    DELETE FROM policy_version
        WHERE policy = old.id AND came = (SELECT coalesce(max(number), 0) + 1 FROM epoch);
    UPDATE policy_version SET went = (SELECT coalesce(max(number), 0) + 1 FROM epoch)
        WHERE policy = old.id AND went IS NULL;
END;
