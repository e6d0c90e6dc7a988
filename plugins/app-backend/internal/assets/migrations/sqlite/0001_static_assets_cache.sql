-- Static files of the bundles of the last days. The table is that of the same
-- plugin in Node, so that an existing database can be taken over. Times are
-- text in UTC, "2006-01-02 15:04:05".
CREATE TABLE IF NOT EXISTS static_assets_cache (
    path             text NOT NULL,
    content          blob NOT NULL,
    last_modified_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
    namespace        varchar(255) NOT NULL DEFAULT 'default',
    PRIMARY KEY (namespace, path)
);

CREATE INDEX IF NOT EXISTS static_asset_cache_last_modified_at_idx ON static_assets_cache (last_modified_at);
