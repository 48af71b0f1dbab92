-- OAuth: flows to a provider and back, and the identities that they link to users.

-- name: begin(flow, provider, owner, redirect_uri, lasts_s) -> BegunRow
-- Begin a flow. Repeated: the same, as long as no proof came. No row: the id is in use for something else.
INSERT INTO auth.oauth_flows AS f (id, provider, user_id, redirect_uri, expires_at)
VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP + make_interval(secs => $5))
ON CONFLICT (id) DO UPDATE SET provider = f.provider
WHERE (f.provider, f.user_id, f.redirect_uri)
      IS NOT DISTINCT FROM (excluded.provider, excluded.user_id, excluded.redirect_uri)
  AND f.claimed_at IS NULL AND f.expires_at > CURRENT_TIMESTAMP
RETURNING created_at, expires_at

-- name: claim(flow, owner) -> ClaimedRow
-- Take a flow to look at a proof for it. No row: it is somebody else's, had its proof, or is too old.
UPDATE auth.oauth_flows SET claimed_at = CURRENT_TIMESTAMP
WHERE id = $1 AND user_id IS NOT DISTINCT FROM $2 AND claimed_at IS NULL AND expires_at > CURRENT_TIMESTAMP
RETURNING provider, redirect_uri, created_at

-- name: release(flow) -> None
-- Let a flow have another proof: this one could not be looked at.
UPDATE auth.oauth_flows SET claimed_at = NULL WHERE id = $1 AND proven_at IS NULL

-- name: refuse(provider, address, user_agent, device_id) -> None
-- Note that a proof was not good. Nobody knows whose it was to be.
INSERT INTO auth.login_history (phone, success, failure_reason, ip_address, user_agent, device_id)
VALUES ('', FALSE, $1::text || '_refused', $2::inet, $3, $4)

-- name: prove(flow, subject, email, profile, lasts_s) -> None
-- Keep whose a flow is, by the provider's word, for as long as a code to a phone may take.
UPDATE auth.oauth_flows
SET proven_at = CURRENT_TIMESTAMP, provider_user_id = $2, provider_email = $3, profile_data = $4,
    expires_at = CURRENT_TIMESTAMP + make_interval(secs => $5)
WHERE id = $1

-- name: attempt(flow, device_id, address, user_agent) -> AttemptRow
-- Who the proven identity is, noted as if the login had failed. Without a hash the user may not log in, without a user
-- nobody has the identity. Failures of strangers, who guessed at the password, keep nobody out here. No row: the flow is
-- not proven, was spent, or is too old.
WITH flow AS (
    SELECT provider, provider_user_id FROM auth.oauth_flows
    WHERE id = $1 AND user_id IS NULL AND proven_at IS NOT NULL AND spent_at IS NULL AND expires_at > CURRENT_TIMESTAMP
), found AS (
    SELECT u.id, u.phone, u.password_hash, u.second_factor, f.provider,
           CASE WHEN u.deleted_at IS NOT NULL THEN '_deleted'
                WHEN u.verified IS NOT TRUE THEN '_unverified'
                WHEN coalesce(u.locked, FALSE) AND coalesce(u.locked_until > CURRENT_TIMESTAMP, TRUE) THEN '_locked'
           END AS refusal
    FROM flow f
    JOIN auth.oauth_providers p ON p.provider = f.provider AND p.provider_user_id = f.provider_user_id
    JOIN auth.users u ON u.id = p.user_id
), noted AS (
    INSERT INTO auth.login_history (user_id, phone, success, failure_reason, ip_address, user_agent, device_id)
    SELECT id, phone, FALSE, provider || coalesce(refusal, '_unfinished'), $3::inet, $4, $2 FROM found
    RETURNING id
)
SELECT f.provider, n.id, u.id, CASE WHEN u.refusal IS NULL THEN u.password_hash END, coalesce(u.second_factor, FALSE), u.phone
FROM flow f LEFT JOIN found u ON TRUE LEFT JOIN noted n ON TRUE

-- name: register(flow, verification, digest, display_name) -> RegisteredRow
-- Try a code. If it is right the user is made, without a password, and has the proven identity. The flow is not spent yet:
-- the login that follows does that. No user: no code fits, or the number was taken meanwhile. No row: the flow is no good.
WITH flow AS (
    SELECT provider, provider_user_id, provider_email, profile_data FROM auth.oauth_flows
    WHERE id = $1 AND user_id IS NULL AND proven_at IS NOT NULL AND spent_at IS NULL AND expires_at > CURRENT_TIMESTAMP
    FOR NO KEY UPDATE
), tried AS MATERIALIZED (  -- by the flow: without one no code is tried
    SELECT t.verified, t.phone
    FROM flow f
    CROSS JOIN LATERAL auth.try_code(CASE WHEN f.provider IS NOT NULL THEN $2::uuid END, 'registration', NULL, $3) t
), added AS MATERIALIZED (
    SELECT auth.add_user(phone, '!', $4) AS id FROM tried WHERE verified
), linked AS (
    INSERT INTO auth.oauth_providers (user_id, provider, provider_user_id, provider_email, profile_data)
    SELECT a.id, f.provider, f.provider_user_id, f.provider_email, f.profile_data FROM added a, flow f
    WHERE a.id IS NOT NULL
)
SELECT a.id FROM flow f LEFT JOIN added a ON TRUE

-- function: auth.link_identity
-- Link what a flow has proven to the user who began it. One after the other for each user: of two identities at one
-- provider the first stays.
CREATE OR REPLACE FUNCTION auth.link_identity(
    flow UUID, owner UUID, OUT outcome TEXT, OUT at_provider TEXT, OUT owner_phone TEXT)
LANGUAGE plpgsql AS $$
DECLARE
    proven auth.oauth_flows;
    linked auth.oauth_providers;
BEGIN
    SELECT u.phone INTO owner_phone FROM auth.users u WHERE u.id = owner AND u.deleted_at IS NULL FOR NO KEY UPDATE;
    UPDATE auth.oauth_flows f SET spent_at = CURRENT_TIMESTAMP
    WHERE f.id = flow AND f.user_id = owner AND f.proven_at IS NOT NULL AND f.spent_at IS NULL
      AND f.expires_at > CURRENT_TIMESTAMP AND owner_phone IS NOT NULL
    RETURNING * INTO proven;
    IF NOT FOUND THEN
        outcome = 'over';
        RETURN;
    END IF;
    at_provider = proven.provider;
    IF NOT EXISTS (SELECT FROM auth.oauth_providers p WHERE p.user_id = owner AND p.provider = proven.provider) THEN
        INSERT INTO auth.oauth_providers AS p (user_id, provider, provider_user_id, provider_email, profile_data)
        VALUES (owner, proven.provider, proven.provider_user_id, proven.provider_email, proven.profile_data)
        ON CONFLICT (provider, provider_user_id) DO NOTHING
        RETURNING * INTO linked;
        IF FOUND THEN
            outcome = 'linked';
            RETURN;
        END IF;
    END IF;
    SELECT CASE WHEN p.user_id = owner THEN 'same' ELSE 'taken' END INTO outcome FROM auth.oauth_providers p
    WHERE p.provider = proven.provider AND p.provider_user_id = proven.provider_user_id;
    outcome = coalesce(outcome, 'full');
END
$$;

-- name: link(flow, owner, acting) -> LinkedRow
-- Over is a flow also where the session that asks has ended: the provider took its time.
WITH acting AS MATERIALIZED (SELECT auth.act($2, $3) AS may)
SELECT l.outcome, l.at_provider, l.owner_phone
FROM acting a CROSS JOIN LATERAL auth.link_identity(CASE WHEN a.may THEN $1::uuid END, $2) l

-- function: auth.unlink_identity
-- Take an identity from its user, and end all sessions but one, and the refresh tokens of all other devices: it may have
-- opened any of them. First the link, then the sessions, each seen anew: a login that was faster is ended, one that is
-- slower finds no link. The link is locked before the user, as a login does.
CREATE OR REPLACE FUNCTION auth.unlink_identity(
    owner UUID, attempt UUID, old_hash TEXT, from_provider TEXT, kept UUID)
RETURNS TABLE (of_user UUID, ended UUID) LANGUAGE plpgsql AS $$
DECLARE
    is_gone BOOLEAN;
BEGIN
    DELETE FROM auth.oauth_providers p USING auth.users u
    WHERE p.user_id = owner AND p.provider = from_provider
      AND u.id = owner AND u.password_hash = old_hash AND u.deleted_at IS NULL;
    is_gone = FOUND;
    UPDATE auth.users u
    SET failed_login_attempts = 0, locked_until = CASE WHEN u.locked THEN u.locked_until END
    WHERE u.id = owner AND (is_gone OR u.password_hash = old_hash) AND u.deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE auth.login_history h SET success = TRUE, failure_reason = NULL WHERE h.id = attempt;
    RETURN QUERY SELECT owner, NULL::uuid;
    IF is_gone THEN
        RETURN QUERY SELECT owner, e.id FROM auth.end_sessions(owner, NULL, kept) e(id);
    END IF;
END
$$;

-- name: unlink(owner, attempt, old_hash, provider, kept) -> EndedRow
-- A row without a session, and one for each that ended. No row: the password was changed meanwhile.
SELECT of_user, ended FROM auth.unlink_identity($1, $2, $3, $4, $5)

-- name: of_user(owner) -> IdentityRow
-- The identities of a user, in the order in which they were linked.
SELECT provider, provider_email, profile_data ->> 'name', created_at
FROM auth.oauth_providers WHERE user_id = $1 ORDER BY created_at, id LIMIT 100
