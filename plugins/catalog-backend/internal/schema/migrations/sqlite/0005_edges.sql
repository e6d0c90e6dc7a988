-- Who emitted an entity is a part of its state, which indexes follow: an edge
-- that comes or goes is a change of the entity that it leads to.
CREATE TRIGGER entity_edge_added AFTER INSERT ON entity_edge BEGIN
    INSERT INTO entity_change (entity_id, deleted) VALUES (NEW.target_id, false);
END;
CREATE TRIGGER entity_edge_gone AFTER DELETE ON entity_edge BEGIN
    INSERT INTO entity_change (entity_id, deleted) VALUES (OLD.target_id, false);
END;
