-- Marks are added and never replaced: several may name an entity, and one that
-- comes while the entity is built anew stays.
ALTER TABLE entity_dirty RENAME TO entity_dirty_old;
CREATE TABLE entity_dirty (
    mark      integer PRIMARY KEY AUTOINCREMENT,
    entity_id integer NOT NULL,
    since     integer NOT NULL
);
CREATE INDEX entity_dirty_entity ON entity_dirty (entity_id);
INSERT INTO entity_dirty (entity_id, since) SELECT entity_id, since FROM entity_dirty_old;
DROP TABLE entity_dirty_old;

-- What the provider handed in, so that a mutation without a change is compared
-- with this narrow table only.
ALTER TABLE provider_edge ADD COLUMN ref text NOT NULL DEFAULT '';
ALTER TABLE provider_edge ADD COLUMN hash text NOT NULL DEFAULT '';
ALTER TABLE provider_edge ADD COLUMN location_key text NOT NULL DEFAULT '';
UPDATE provider_edge SET ref = e.ref, hash = e.unprocessed_hash, location_key = COALESCE(e.location_key, '') FROM entity e WHERE e.id = provider_edge.target_id;

-- The difference to what is there is worked out in the transaction that writes
-- it: no key has to keep triples from being there twice.
CREATE TABLE relation_new (
    origin_id  integer NOT NULL,
    source_ref text NOT NULL,
    type       text NOT NULL,
    target_ref text NOT NULL
);
INSERT INTO relation_new SELECT origin_id, source_ref, type, target_ref FROM relation;
DROP TABLE relation;
ALTER TABLE relation_new RENAME TO relation;
CREATE INDEX relation_origin ON relation (origin_id);
CREATE INDEX relation_source ON relation (source_ref);
-- Nobody asks for the targets: an entity keeps its relations to what is not there.
