-- Marks are added and never wait for each other: several may name an entity,
-- and one that comes while the entity is built anew stays.
ALTER TABLE entity_dirty RENAME TO entity_dirty_old;
CREATE TABLE entity_dirty (
    mark      bigint GENERATED ALWAYS AS IDENTITY,
    entity_id bigint NOT NULL,
    since     bigint NOT NULL,
    PRIMARY KEY (entity_id, mark)
);
INSERT INTO entity_dirty (entity_id, since) SELECT entity_id, since FROM entity_dirty_old;
DROP TABLE entity_dirty_old;

-- What the provider handed in, so that a mutation without a change is compared
-- with this narrow table only.
ALTER TABLE provider_edge ADD COLUMN ref text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE provider_edge ADD COLUMN hash text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE provider_edge ADD COLUMN location_key text COLLATE "C" NOT NULL DEFAULT '';
UPDATE provider_edge SET ref = e.ref, hash = e.unprocessed_hash, location_key = COALESCE(e.location_key, '') FROM entity e WHERE e.id = provider_edge.target_id;

-- The difference to what is there is worked out while the origin is locked:
-- no key has to keep triples from being there twice.
ALTER TABLE relation DROP CONSTRAINT relation_pkey;
CREATE INDEX relation_origin ON relation (origin_id);

-- Nobody asks for it: an entity keeps its relations to what is not there.
DROP INDEX relation_target;

-- Hardly any two of their rows are alike.
ALTER INDEX entity_search_value SET (deduplicate_items = off);
ALTER INDEX entity_search_entity SET (deduplicate_items = off);

-- The texts of a typical entity stay in its row as they are: to compress them
-- took more time than everything else that is done to the row.
ALTER TABLE entity SET (toast_tuple_target = 8160);
