-- Clients that registered themselves.
CREATE TABLE IF NOT EXISTS oidc_clients (
    client_id      varchar(255) PRIMARY KEY,
    client_secret  varchar(255) NOT NULL,
    client_name    varchar(255) NOT NULL,
    response_types text NOT NULL,
    grant_types    text NOT NULL,
    redirect_uris  text NOT NULL,
    scope          text,
    metadata       text
);

-- When each of them was last used, and whether a user has ever let it in.
CREATE TABLE IF NOT EXISTS oidc_client_uses (
    client_id varchar(255) PRIMARY KEY,
    used_at   datetime NOT NULL,
    approved  boolean NOT NULL DEFAULT false
);
CREATE INDEX IF NOT EXISTS oidc_client_uses_used_at_idx ON oidc_client_uses (used_at);

-- Requests of clients for access, which users answer.
CREATE TABLE IF NOT EXISTS oauth_authorization_sessions (
    id                    varchar(255) PRIMARY KEY,
    client_id             varchar(255) NOT NULL,
    user_entity_ref       varchar(255),
    redirect_uri          text NOT NULL,
    scope                 text,
    state                 text,
    response_type         varchar(255) NOT NULL,
    code_challenge        varchar(255),
    code_challenge_method varchar(255),
    nonce                 varchar(255),
    status                text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'approved', 'rejected', 'expired')),
    expires_at            datetime NOT NULL
);
CREATE INDEX IF NOT EXISTS oauth_authorization_sessions_client_user_idx ON oauth_authorization_sessions (client_id, user_entity_ref);
CREATE INDEX IF NOT EXISTS oauth_authorization_sessions_status_idx ON oauth_authorization_sessions (status, expires_at);

-- What else is known of a request: who the client says that it is, the
-- browser in which the request began, who signed in there, and which refresh
-- token the request has led to.
CREATE TABLE IF NOT EXISTS oauth_authorization_details (
    session_id         varchar(255) PRIMARY KEY,
    client_name        text NOT NULL,
    verified           boolean NOT NULL,
    browser            varchar(255) NOT NULL DEFAULT '',
    signed_in          varchar(255) NOT NULL DEFAULT '',
    offline_session_id varchar(255) NOT NULL DEFAULT ''
);

-- Codes that clients exchange for tokens; hashes of them.
CREATE TABLE IF NOT EXISTS oidc_authorization_codes (
    code       varchar(255) PRIMARY KEY,
    session_id varchar(255) NOT NULL REFERENCES oauth_authorization_sessions (id) ON DELETE CASCADE,
    expires_at datetime NOT NULL,
    used       boolean NOT NULL DEFAULT false
);
CREATE INDEX IF NOT EXISTS oidc_authorization_codes_session_idx ON oidc_authorization_codes (session_id);

-- Families of refresh tokens, each with a hash of the one that is good.
CREATE TABLE IF NOT EXISTS offline_sessions (
    id              varchar(255) PRIMARY KEY,
    user_entity_ref varchar(255) NOT NULL,
    oidc_client_id  varchar(255),
    token_hash      text NOT NULL,
    created_at      datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_used_at    datetime NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX IF NOT EXISTS offline_sessions_user_idx ON offline_sessions (user_entity_ref);
CREATE INDEX IF NOT EXISTS offline_sessions_oidc_client_id_idx ON offline_sessions (oidc_client_id);
CREATE INDEX IF NOT EXISTS offline_sessions_created_at_idx ON offline_sessions (created_at);
CREATE INDEX IF NOT EXISTS offline_sessions_last_used_at_idx ON offline_sessions (last_used_at);
