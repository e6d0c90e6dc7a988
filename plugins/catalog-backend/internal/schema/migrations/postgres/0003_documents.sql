-- In which document of its file (from 1), and from which line, an entity was
-- read; 0 if that is not known.
ALTER TABLE entity_edge ADD COLUMN document bigint NOT NULL DEFAULT 0;
ALTER TABLE entity_edge ADD COLUMN line bigint NOT NULL DEFAULT 0;
ALTER TABLE entity_claim ADD COLUMN document bigint NOT NULL DEFAULT 0;
ALTER TABLE entity_claim ADD COLUMN line bigint NOT NULL DEFAULT 0;

-- Documents that one parent led to and that do not count, since another one
-- that it led to has the same ref. "place" is their order.
CREATE TABLE entity_twice (
    parent_id     bigint NOT NULL,
    place         bigint NOT NULL,
    ref           text COLLATE "C" NOT NULL,
    location_key  text COLLATE "C" NOT NULL,
    body          text NOT NULL,
    document      bigint NOT NULL,
    line          bigint NOT NULL,
    kept_key      text COLLATE "C" NOT NULL,
    kept_document bigint NOT NULL,
    since         bigint NOT NULL,
    PRIMARY KEY (parent_id, place)
);
CREATE INDEX entity_twice_ref ON entity_twice (ref);
