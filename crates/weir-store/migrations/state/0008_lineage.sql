-- What a data source was made from. JSON, with ids of sources and columns, which are never used again; absent when it
-- was not made from others.
ALTER TABLE source ADD COLUMN lineage TEXT;

DROP TRIGGER touch_source_update;
CREATE TRIGGER touch_source_update
AFTER UPDATE OF id, schema_name, table_name, location, tags, row_key, event_time, lineage ON source BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', OLD.id);
    INSERT INTO touch (kind, key) VALUES ('source', NEW.id);
END;
