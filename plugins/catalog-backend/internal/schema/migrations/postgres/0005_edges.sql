-- Who emitted an entity is a part of its state, which indexes follow: an edge
-- that comes or goes is a change of the entity that it leads to.
CREATE FUNCTION entity_edge_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO entity_change (entity_id, deleted) SELECT DISTINCT target_id, false FROM changed;
    RETURN NULL;
END
$$;
CREATE TRIGGER entity_edge_added AFTER INSERT ON entity_edge
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION entity_edge_changed();
CREATE TRIGGER entity_edge_gone AFTER DELETE ON entity_edge
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION entity_edge_changed();
