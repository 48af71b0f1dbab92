-- Verifications: codes that were sent to prove a phone number, and how often one may be sent.

-- function: auth.ask_verification
-- Open a verification for a phone number, or an e-mail address, unless too many were opened for it: `wait_ms` says how long to wait. Who asks
-- again with the same id is told the same, and no code is to be sent again. Nobody gets in by a registration of a number
-- that is taken (nor gets one that is), nor by a reset for nobody: these keep no digest, count and answer like any other.
-- A plpgsql function takes a new snapshot for each of its statements: what was committed while we waited counts.
CREATE OR REPLACE FUNCTION auth.ask_verification(
    verification UUID, wanted TEXT, asked_phone TEXT, asked_email TEXT, asker UUID, digest TEXT, lasts_s INT,
    OUT outcome TEXT, OUT wait_ms INT, OUT is_new BOOLEAN, OUT owner UUID, OUT expires_at TIMESTAMP)
LANGUAGE plpgsql AS $$
DECLARE
    old auth.otp_verifications;
    is_for_free BOOLEAN = wanted IN ('registration', 'phone_change', 'email_verification');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('echo verification ' || coalesce(asked_phone, asked_email), 0));
    is_new = FALSE;
    SELECT * INTO old FROM auth.otp_verifications v WHERE v.id = verification;
    IF FOUND THEN
        outcome = CASE
            WHEN (old.phone, old.email, old.purpose) IS NOT DISTINCT FROM (asked_phone, asked_email, wanted)
                AND (asker IS NULL OR asker = old.user_id) THEN 'ok'
            ELSE 'id_conflict'
        END;
        expires_at = old.expires_at;
        RETURN;
    END IF;
    outcome = 'ok';
    SELECT max(ceil(1000 * extract(epoch FROM c.created_at + l.span - clock_timestamp() AT TIME ZONE 'UTC')))
    INTO wait_ms
    FROM (VALUES (1, INTERVAL '60 seconds'), (5, INTERVAL '1 hour'), (10, INTERVAL '1 day')) l(most, span),
    LATERAL (SELECT v.created_at FROM auth.otp_verifications v
             WHERE v.phone = asked_phone OR v.email = asked_email
             ORDER BY v.created_at DESC OFFSET l.most - 1 LIMIT 1) c;
    IF wait_ms > 0 THEN
        RETURN;
    END IF;
    is_new = TRUE;
    SELECT u.id INTO owner FROM auth.users u
    WHERE (u.phone = asked_phone OR u.email = asked_email) AND (is_for_free OR u.deleted_at IS NULL AND u.verified);
    INSERT INTO auth.otp_verifications AS v (id, user_id, phone, email, otp_code, code_digest, purpose, expires_at)
    VALUES (verification, CASE WHEN is_for_free THEN asker ELSE owner END, asked_phone, asked_email, '!',
            CASE WHEN (owner IS NULL) = is_for_free THEN digest END, wanted,
            CURRENT_TIMESTAMP + make_interval(secs => lasts_s))
    RETURNING v.expires_at INTO ask_verification.expires_at;
END
$$;

-- name: ask(verification, purpose, phone, email, asker, digest, lasts_s) -> AskedRow
SELECT outcome, coalesce(wait_ms, 0), is_new, owner, expires_at FROM auth.ask_verification($1, $2, $3, $4, $5, $6, $7)

-- function: auth.try_code
-- Try a code, of an owner's or, where there is none yet, of anybody's: it counts, and is good once. No row: none is waiting
-- for one, or it had its tries. A statement finds the user by this row and not beside it: what is not read is not run, and
-- a wrong code must count.
CREATE OR REPLACE FUNCTION auth.try_code(verification UUID, wanted TEXT, owner UUID, digest TEXT)
RETURNS TABLE (verified BOOLEAN, phone TEXT, email TEXT, user_id UUID)
LANGUAGE sql ROWS 1 AS $$
    UPDATE auth.otp_verifications v
    SET attempts = coalesce(v.attempts, 0) + 1, verified = coalesce(v.code_digest = digest, FALSE),
        verified_at = CASE WHEN v.code_digest = digest THEN CURRENT_TIMESTAMP END
    WHERE v.id = verification AND v.purpose = wanted AND (owner IS NULL OR v.user_id = owner)
      AND v.verified IS NOT TRUE AND coalesce(v.attempts, 0) < 5 AND v.expires_at > CURRENT_TIMESTAMP
    RETURNING v.verified, v.phone::text, v.email::text, v.user_id
$$;

-- name: waiting(verification, purpose) -> str
-- The phone number for which a code may still be tried. Decides nothing: the statement that tries it looks again.
SELECT phone FROM auth.otp_verifications
WHERE id = $1 AND purpose = $2 AND verified IS NOT TRUE AND coalesce(attempts, 0) < 5 AND expires_at > CURRENT_TIMESTAMP

-- name: try_code(verification, purpose, owner, digest) -> bool
-- Try a code that was sent to a user, where the user still is. No row: none is waiting for one, or it had its tries.
SELECT t.verified AND EXISTS (SELECT FROM auth.users u WHERE u.id = $3 AND (u.phone = t.phone OR u.email = t.email))
FROM auth.try_code($1, $2, $3, $4) t
