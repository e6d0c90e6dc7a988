-- Rows of entity_search that are written later, all those of an entity as one
-- text: an array of [key_id, value, original, 1 for an item of an array],
-- without what is null at its end. An entity has rows here or there.
CREATE TABLE search_behind (
    entity_id integer PRIMARY KEY,
    rows      text NOT NULL
);

CREATE VIEW search_behind_row AS
SELECT b.entity_id,
       json_extract(r.value, '$[0]') AS key_id,
       json_extract(r.value, '$[1]') AS value,
       json_extract(r.value, '$[2]') AS original,
       COALESCE(json_extract(r.value, '$[3]'), 0) AS item,
       b.rows AS packed
FROM search_behind b, json_each(b.rows) r;

-- Relations of the entity that they come from have no source_ref, which would
-- be that of the entity: half of all need no place in the index.
UPDATE relation SET source_ref = '' FROM entity e WHERE e.id = relation.origin_id AND e.ref = relation.source_ref;
DROP INDEX relation_source;
CREATE INDEX relation_source ON relation (source_ref) WHERE source_ref <> '';
