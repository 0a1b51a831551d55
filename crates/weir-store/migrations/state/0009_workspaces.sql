-- The schema in which members of the project write tables; absent when they write none.
ALTER TABLE project ADD COLUMN workspace TEXT;
CREATE UNIQUE INDEX project_workspace ON project (workspace);

-- The project in whose workspace the table was written; absent for what was registered. A project is not removed while
-- it has tables.
ALTER TABLE source ADD COLUMN workspace INTEGER REFERENCES project;
CREATE INDEX source_workspace ON source (workspace);

DROP TRIGGER touch_source_update;
CREATE TRIGGER touch_source_update
AFTER UPDATE OF id, schema_name, table_name, location, tags, row_key, event_time, lineage, workspace ON source BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', OLD.id);
    INSERT INTO touch (kind, key) VALUES ('source', NEW.id);
END;
