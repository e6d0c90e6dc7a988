-- The public parts of the keys that sign user tokens. Times are text in UTC,
-- "2006-01-02 15:04:05".
CREATE TABLE IF NOT EXISTS signing_keys (
    kid        varchar(255) PRIMARY KEY,
    created_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
    key        text NOT NULL
);

-- What users own by, {"claims": {…}}, as of their last sign-in.
CREATE TABLE IF NOT EXISTS user_info (
    user_entity_ref varchar(255) PRIMARY KEY,
    user_info       text NOT NULL,
    updated_at      datetime NOT NULL,
    created_at      datetime NOT NULL DEFAULT CURRENT_TIMESTAMP
);
