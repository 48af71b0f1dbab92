-- migrate:up

-- The reference leaves six characters for a code, and a code is never stored as it is: its digest stands here, and a
-- placeholder in otp_code. Without a digest (another service wrote the row, or nobody is to get in by it) no code fits.
ALTER TABLE auth.otp_verifications ADD COLUMN code_digest VARCHAR(64) NULL;
COMMENT ON COLUMN auth.otp_verifications.code_digest IS 'HMAC-SHA-256 of id, purpose and code, in hex; NULL: no code fits';

ALTER TABLE auth.users ADD COLUMN second_factor BOOLEAN NOT NULL DEFAULT FALSE;
COMMENT ON COLUMN auth.users.second_factor IS 'Whether a login asks for a code as well';

-- Whoever ends a session, by whichever service and way, ends what would bring it back. One that has run out by itself
-- takes nothing with it.
CREATE FUNCTION auth.forget_device() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    UPDATE auth.refresh_tokens SET revoked = TRUE, revoked_at = CURRENT_TIMESTAMP
    WHERE user_id = OLD.user_id AND device_id = OLD.device_id AND revoked IS NOT TRUE;
    RETURN NULL;
END
$$;
CREATE TRIGGER forget_device AFTER DELETE ON auth.sessions
    FOR EACH ROW WHEN (OLD.expires_at > CURRENT_TIMESTAMP) EXECUTE FUNCTION auth.forget_device();
CREATE TRIGGER forget_expired_device AFTER UPDATE OF expires_at ON auth.sessions
    FOR EACH ROW WHEN (OLD.expires_at > CURRENT_TIMESTAMP AND NEW.expires_at <= CURRENT_TIMESTAMP)
    EXECUTE FUNCTION auth.forget_device();

-- migrate:down

DROP TRIGGER forget_expired_device ON auth.sessions;
DROP TRIGGER forget_device ON auth.sessions;
DROP FUNCTION auth.forget_device();
ALTER TABLE auth.users DROP COLUMN second_factor;
ALTER TABLE auth.otp_verifications DROP COLUMN code_digest;
