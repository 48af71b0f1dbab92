-- migrate:up

-- One way to a provider and back: begun, proven, spent. Nothing secret stands here: state, nonce and PKCE verifier are
-- made of the row and the server's key. Links are the reference's auth.oauth_providers, whose columns for the provider's
-- tokens stay NULL.
CREATE TABLE auth.oauth_flows (
    id UUID PRIMARY KEY,
    provider VARCHAR(50) NOT NULL,
    user_id UUID NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    redirect_uri TEXT NULL,
    claimed_at TIMESTAMP NULL,
    proven_at TIMESTAMP NULL,
    spent_at TIMESTAMP NULL,
    provider_user_id VARCHAR(255) NULL,
    provider_email VARCHAR(255) NULL,
    profile_data JSONB NULL,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    expires_at TIMESTAMP NOT NULL
);
CREATE INDEX idx_oauth_flows_expires_at ON auth.oauth_flows(expires_at);
COMMENT ON COLUMN auth.oauth_flows.user_id IS 'Who wants to link an identity; NULL: somebody wants to log in';
COMMENT ON COLUMN auth.oauth_flows.claimed_at IS 'When a proof began to be looked at: a flow takes one';
COMMENT ON COLUMN auth.oauth_flows.spent_at IS 'When it opened a session, made an account or a link: it does so once';

-- migrate:down

DROP TABLE auth.oauth_flows;
