-- JSON; absent until somebody has looked at the rows.
ALTER TABLE source_column ADD COLUMN profile TEXT;
