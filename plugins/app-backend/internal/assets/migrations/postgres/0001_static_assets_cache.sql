-- Static files of the bundles of the last days. The table is that of the same
-- plugin in Node, so that an existing database can be taken over.
CREATE TABLE IF NOT EXISTS static_assets_cache (
    path             text NOT NULL,
    content          bytea NOT NULL,
    last_modified_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    namespace        varchar(255) NOT NULL DEFAULT 'default',
    PRIMARY KEY (namespace, path)
);

-- A piece of a value can be read without the rest only if it is not compressed.
ALTER TABLE static_assets_cache ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE INDEX IF NOT EXISTS static_asset_cache_last_modified_at_idx ON static_assets_cache (last_modified_at);
