CREATE TABLE IF NOT EXISTS backstage_backend_public_keys__keys (
    id varchar(255) PRIMARY KEY,
    key text NOT NULL,
    expires_at varchar(255) NOT NULL
);
