-- What each change of state touched, so that whoever knows an earlier epoch reads nothing else again. kind: `principal`,
-- `source`, `policy`, `projects` or `impersonations`. key: a JSON array of the identity manager and the name of a
-- principal, the id of a source or policy; empty where the kind stands for all there are. Not kept for good.
CREATE TABLE touched (
    epoch INTEGER NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    PRIMARY KEY (epoch, kind, key)
) STRICT, WITHOUT ROWID;

-- To be inserted into: notes it once for the epoch that the change makes, which is the one after the greatest. OR IGNORE
-- would not do, because in a trigger it gives way to the statement that fires it.
CREATE VIEW touch (kind, key) AS SELECT kind, key FROM touched;
CREATE TRIGGER touch_insert INSTEAD OF INSERT ON touch BEGIN
    INSERT INTO touched (epoch, kind, key)
        SELECT next, NEW.kind, CAST(NEW.key AS TEXT) FROM (SELECT coalesce(max(number), 0) + 1 AS next FROM epoch)
        WHERE NOT EXISTS (
            SELECT 1 FROM touched WHERE epoch = next AND kind = NEW.kind AND key = CAST(NEW.key AS TEXT)
        );
END;

CREATE TRIGGER touch_principal_insert AFTER INSERT ON principal BEGIN
    INSERT INTO touch (kind, key) VALUES ('principal', json_array(NEW.iam, NEW.name));
END;
CREATE TRIGGER touch_principal_update AFTER UPDATE OF iam, name, groups, attributes, permissions ON principal BEGIN
    INSERT INTO touch (kind, key) VALUES ('principal', json_array(OLD.iam, OLD.name));
    INSERT INTO touch (kind, key) VALUES ('principal', json_array(NEW.iam, NEW.name));
END;
CREATE TRIGGER touch_principal_delete AFTER DELETE ON principal BEGIN
    INSERT INTO touch (kind, key) VALUES ('principal', json_array(OLD.iam, OLD.name));
END;

CREATE TRIGGER touch_source_insert AFTER INSERT ON source BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', NEW.id);
END;
CREATE TRIGGER touch_source_update
AFTER UPDATE OF id, schema_name, table_name, location, tags, row_key, event_time ON source BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', OLD.id);
    INSERT INTO touch (kind, key) VALUES ('source', NEW.id);
END;
CREATE TRIGGER touch_source_delete AFTER DELETE ON source BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', OLD.id);
END;

CREATE TRIGGER touch_source_column_insert AFTER INSERT ON source_column BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', NEW.source);
END;
CREATE TRIGGER touch_source_column_update AFTER UPDATE ON source_column BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', OLD.source);
    INSERT INTO touch (kind, key) VALUES ('source', NEW.source);
END;
CREATE TRIGGER touch_source_column_delete AFTER DELETE ON source_column BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', OLD.source);
END;

CREATE TRIGGER touch_source_part_insert AFTER INSERT ON source_part BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', NEW.source);
END;
CREATE TRIGGER touch_source_part_update AFTER UPDATE ON source_part BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', OLD.source);
    INSERT INTO touch (kind, key) VALUES ('source', NEW.source);
END;
CREATE TRIGGER touch_source_part_delete AFTER DELETE ON source_part BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', OLD.source);
END;

CREATE TRIGGER touch_source_owner_insert AFTER INSERT ON source_owner BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', NEW.source);
END;
CREATE TRIGGER touch_source_owner_update AFTER UPDATE ON source_owner BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', OLD.source);
    INSERT INTO touch (kind, key) VALUES ('source', NEW.source);
END;
CREATE TRIGGER touch_source_owner_delete AFTER DELETE ON source_owner BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', OLD.source);
END;

CREATE TRIGGER touch_selected_insert AFTER INSERT ON selected BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', NEW.source);
END;
CREATE TRIGGER touch_selected_update AFTER UPDATE ON selected BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', OLD.source);
    INSERT INTO touch (kind, key) VALUES ('source', NEW.source);
END;
CREATE TRIGGER touch_selected_delete AFTER DELETE ON selected BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', OLD.source);
END;

CREATE TRIGGER touch_chosen_policy_insert AFTER INSERT ON chosen_policy BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', NEW.source);
END;
CREATE TRIGGER touch_chosen_policy_update AFTER UPDATE ON chosen_policy BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', OLD.source);
    INSERT INTO touch (kind, key) VALUES ('source', NEW.source);
END;
CREATE TRIGGER touch_chosen_policy_delete AFTER DELETE ON chosen_policy BEGIN
    INSERT INTO touch (kind, key) VALUES ('source', OLD.source);
END;

CREATE TRIGGER touch_policy_insert AFTER INSERT ON policy BEGIN
    INSERT INTO touch (kind, key) VALUES ('policy', NEW.id);
END;
CREATE TRIGGER touch_policy_update AFTER UPDATE OF id, key, text ON policy BEGIN
    INSERT INTO touch (kind, key) VALUES ('policy', OLD.id);
    INSERT INTO touch (kind, key) VALUES ('policy', NEW.id);
    -- Approvals count as long as the policy asks the same people, and choices name it.
    INSERT INTO touch (kind, key) SELECT 'source', source FROM subscription_request WHERE policy = NEW.id AND source IS NOT NULL;
    INSERT INTO touch (kind, key) SELECT 'source', source FROM chosen_policy WHERE policy = NEW.id;
END;
CREATE TRIGGER touch_policy_delete AFTER DELETE ON policy BEGIN
    INSERT INTO touch (kind, key) VALUES ('policy', OLD.id);
END;

CREATE TRIGGER touch_subscription_request_insert AFTER INSERT ON subscription_request BEGIN
    INSERT INTO touch (kind, key) SELECT 'source', NEW.source WHERE NEW.source IS NOT NULL;
END;
CREATE TRIGGER touch_subscription_request_update AFTER UPDATE ON subscription_request BEGIN
    INSERT INTO touch (kind, key) SELECT 'source', OLD.source WHERE OLD.source IS NOT NULL;
    INSERT INTO touch (kind, key) SELECT 'source', NEW.source WHERE NEW.source IS NOT NULL;
END;
CREATE TRIGGER touch_subscription_request_delete AFTER DELETE ON subscription_request BEGIN
    INSERT INTO touch (kind, key) SELECT 'source', OLD.source WHERE OLD.source IS NOT NULL;
END;
CREATE TRIGGER touch_subscription_act_insert AFTER INSERT ON subscription_act BEGIN
    INSERT INTO touch (kind, key) SELECT 'source', source FROM subscription_request WHERE id = NEW.request AND source IS NOT NULL;
END;
CREATE TRIGGER touch_subscription_act_update AFTER UPDATE ON subscription_act BEGIN
    INSERT INTO touch (kind, key) SELECT 'source', source FROM subscription_request WHERE id = OLD.request AND source IS NOT NULL;
    INSERT INTO touch (kind, key) SELECT 'source', source FROM subscription_request WHERE id = NEW.request AND source IS NOT NULL;
END;
CREATE TRIGGER touch_subscription_act_delete AFTER DELETE ON subscription_act BEGIN
    INSERT INTO touch (kind, key) SELECT 'source', source FROM subscription_request WHERE id = OLD.request AND source IS NOT NULL;
END;

CREATE TRIGGER touch_project_insert AFTER INSERT ON project BEGIN
    INSERT INTO touch (kind, key) VALUES ('projects', '');
END;
CREATE TRIGGER touch_project_update AFTER UPDATE ON project BEGIN
    INSERT INTO touch (kind, key) VALUES ('projects', '');
END;
CREATE TRIGGER touch_project_delete AFTER DELETE ON project BEGIN
    INSERT INTO touch (kind, key) VALUES ('projects', '');
END;

CREATE TRIGGER touch_project_member_insert AFTER INSERT ON project_member BEGIN
    INSERT INTO touch (kind, key) VALUES ('projects', '');
END;
CREATE TRIGGER touch_project_member_update AFTER UPDATE ON project_member BEGIN
    INSERT INTO touch (kind, key) VALUES ('projects', '');
END;
CREATE TRIGGER touch_project_member_delete AFTER DELETE ON project_member BEGIN
    INSERT INTO touch (kind, key) VALUES ('projects', '');
END;

CREATE TRIGGER touch_project_source_insert AFTER INSERT ON project_source BEGIN
    INSERT INTO touch (kind, key) VALUES ('projects', '');
END;
CREATE TRIGGER touch_project_source_update AFTER UPDATE ON project_source BEGIN
    INSERT INTO touch (kind, key) VALUES ('projects', '');
END;
CREATE TRIGGER touch_project_source_delete AFTER DELETE ON project_source BEGIN
    INSERT INTO touch (kind, key) VALUES ('projects', '');
END;

CREATE TRIGGER touch_project_purpose_insert AFTER INSERT ON project_purpose BEGIN
    INSERT INTO touch (kind, key) VALUES ('projects', '');
END;
CREATE TRIGGER touch_project_purpose_update AFTER UPDATE ON project_purpose BEGIN
    INSERT INTO touch (kind, key) VALUES ('projects', '');
END;
CREATE TRIGGER touch_project_purpose_delete AFTER DELETE ON project_purpose BEGIN
    INSERT INTO touch (kind, key) VALUES ('projects', '');
END;

CREATE TRIGGER touch_acknowledgement_insert AFTER INSERT ON acknowledgement BEGIN
    INSERT INTO touch (kind, key) VALUES ('projects', '');
END;
CREATE TRIGGER touch_acknowledgement_update AFTER UPDATE ON acknowledgement BEGIN
    INSERT INTO touch (kind, key) VALUES ('projects', '');
END;
CREATE TRIGGER touch_acknowledgement_delete AFTER DELETE ON acknowledgement BEGIN
    INSERT INTO touch (kind, key) VALUES ('projects', '');
END;

CREATE TRIGGER touch_purpose_insert AFTER INSERT ON purpose BEGIN
    INSERT INTO touch (kind, key) VALUES ('projects', '');
END;
CREATE TRIGGER touch_purpose_update AFTER UPDATE ON purpose BEGIN
    INSERT INTO touch (kind, key) VALUES ('projects', '');
END;
CREATE TRIGGER touch_purpose_delete AFTER DELETE ON purpose BEGIN
    INSERT INTO touch (kind, key) VALUES ('projects', '');
END;

CREATE TRIGGER touch_impersonation_insert AFTER INSERT ON impersonation BEGIN
    INSERT INTO touch (kind, key) VALUES ('impersonations', '');
END;
CREATE TRIGGER touch_impersonation_update AFTER UPDATE ON impersonation BEGIN
    INSERT INTO touch (kind, key) VALUES ('impersonations', '');
END;
CREATE TRIGGER touch_impersonation_delete AFTER DELETE ON impersonation BEGIN
    INSERT INTO touch (kind, key) VALUES ('impersonations', '');
END;
