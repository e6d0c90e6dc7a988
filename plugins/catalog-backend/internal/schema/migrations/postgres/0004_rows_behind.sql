-- Rows of entity_search that are written later, all those of an entity as one
-- text: an array of [key_id, value, original, 1 for an item of an array],
-- without what is null at its end. An entity has rows here or there.
CREATE TABLE search_behind (
    entity_id bigint PRIMARY KEY,
    rows      text COLLATE "C" NOT NULL
);
ALTER TABLE search_behind SET (toast_tuple_target = 8160);

CREATE VIEW search_behind_row AS
SELECT b.entity_id,
       (r.row ->> 0)::bigint AS key_id,
       (r.row ->> 1) COLLATE "C" AS value,
       (r.row ->> 2) COLLATE "C" AS original,
       COALESCE((r.row ->> 3)::int, 0) = 1 AS item,
       b.rows AS packed
FROM search_behind b CROSS JOIN LATERAL jsonb_array_elements(b.rows::jsonb) AS r (row);

-- Ranges of entities that were written in their final state. Transactions that
-- were under way meanwhile may have related something to them, or, if
-- "doubtful", may have taken such a relation away: that is looked at once all
-- transactions before "until" have ended; it is 0 until it is known.
CREATE TABLE entity_load (
    first_id bigint NOT NULL,
    last_id  bigint NOT NULL,
    doubtful boolean NOT NULL,
    until    bigint NOT NULL DEFAULT 0
);

-- Relations of the entity that they come from have no source_ref, which would
-- be that of the entity: half of all need no place in the index.
UPDATE relation SET source_ref = '' FROM entity e WHERE e.id = relation.origin_id AND e.ref = relation.source_ref;
DROP INDEX relation_source;
CREATE INDEX relation_source ON relation (source_ref) WHERE source_ref <> '';
