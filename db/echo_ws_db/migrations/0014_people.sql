-- migrate:up

-- A user's own profile and settings are told to the user's own devices; a block stands in both tables that know of one;
-- and people are found by the hash of their phone number.

CREATE TABLE users.revised (
    user_id UUID PRIMARY KEY REFERENCES auth.users(id) ON DELETE CASCADE,
    user_rev BIGINT NOT NULL
);
COMMENT ON TABLE users.revised IS 'In which of the user''s own revs profile or privacy settings last changed';

-- Presence writes `status` and `last_seen` all the time: they take no rev. Nor do the first, plain rows of an account.
CREATE FUNCTION users.number_settings() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' OR EXISTS (SELECT FROM users.heads WHERE user_id = NEW.user_id) THEN
        INSERT INTO users.revised AS r (user_id, user_rev) VALUES (NEW.user_id, users.take_rev(NEW.user_id))
        ON CONFLICT (user_id) DO UPDATE SET user_rev = excluded.user_rev;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER number_first_settings AFTER INSERT ON users.profiles
    FOR EACH ROW EXECUTE FUNCTION users.number_settings();
CREATE TRIGGER number_settings AFTER UPDATE ON users.profiles
    FOR EACH ROW WHEN (
        (NEW.display_name, NEW.bio, NEW.avatar_url, NEW.phone_visible, NEW.profile_visible)
        IS DISTINCT FROM (OLD.display_name, OLD.bio, OLD.avatar_url, OLD.phone_visible, OLD.profile_visible)
    ) EXECUTE FUNCTION users.number_settings();
CREATE TRIGGER number_first_settings AFTER INSERT ON users.privacy_settings
    FOR EACH ROW EXECUTE FUNCTION users.number_settings();
CREATE TRIGGER number_settings AFTER UPDATE ON users.privacy_settings
    FOR EACH ROW WHEN (
        (NEW.show_last_seen, NEW.show_profile_photo, NEW.show_status, NEW.show_read_receipts, NEW.show_typing_indicator,
         NEW.allow_group_invites)
        IS DISTINCT FROM (OLD.show_last_seen, OLD.show_profile_photo, OLD.show_status, OLD.show_read_receipts,
                          OLD.show_typing_indicator, OLD.allow_group_invites)
    ) EXECUTE FUNCTION users.number_settings();

-- The blocked one goes on seeing somebody who went offline at that moment.
ALTER TABLE users.blocked_users ADD COLUMN gone_at TIMESTAMP NULL;
COMMENT ON COLUMN users.blocked_users.gone_at IS 'What the blocked one sees as `last_seen`';

-- `contacts.blocked` says what `blocked_users` says, whoever writes which. The owner's head is locked before either is
-- written: of a contact and a block that come at once, the later one sees the other.
CREATE FUNCTION users.lock_head(owner UUID) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO users.heads (user_id) SELECT id FROM auth.users WHERE id = owner ON CONFLICT DO NOTHING;
    PERFORM FROM users.heads WHERE user_id = owner FOR NO KEY UPDATE;
END
$$;

CREATE FUNCTION users.before_block() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM users.lock_head(NEW.user_id);
    NEW.gone_at = coalesce((SELECT CASE WHEN p.status IN ('online', 'away', 'busy') THEN NEW.blocked_at
                                        ELSE least(p.last_seen, NEW.blocked_at) END
                            FROM users.profiles p WHERE p.user_id = NEW.user_id), NEW.blocked_at);
    RETURN NEW;
END
$$;

CREATE TRIGGER before_block BEFORE INSERT ON users.blocked_users FOR EACH ROW EXECUTE FUNCTION users.before_block();

CREATE FUNCTION users.mirror_block() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE users.contacts SET blocked = TRUE
        WHERE user_id = NEW.user_id AND contact_user_id = NEW.blocked_user_id AND blocked IS NOT TRUE;
    ELSE
        UPDATE users.contacts SET blocked = FALSE
        WHERE user_id = OLD.user_id AND contact_user_id = OLD.blocked_user_id AND blocked;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER mirror_block AFTER INSERT OR DELETE ON users.blocked_users
    FOR EACH ROW EXECUTE FUNCTION users.mirror_block();

CREATE FUNCTION users.before_contact() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM users.lock_head(NEW.user_id);
    RETURN NEW;
END
$$;
CREATE TRIGGER before_contact BEFORE INSERT ON users.contacts FOR EACH ROW EXECUTE FUNCTION users.before_contact();

-- A new contact that is not marked says nothing about a block that is there; one that is unmarked ends it.
CREATE FUNCTION users.mirror_contact() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.blocked THEN
        INSERT INTO users.blocked_users (user_id, blocked_user_id) VALUES (NEW.user_id, NEW.contact_user_id)
        ON CONFLICT (user_id, blocked_user_id) DO NOTHING;
    ELSIF TG_OP = 'UPDATE' THEN
        DELETE FROM users.blocked_users WHERE user_id = NEW.user_id AND blocked_user_id = NEW.contact_user_id;
    ELSE
        UPDATE users.contacts c SET blocked = TRUE
        FROM users.blocked_users b
        WHERE c.id = NEW.id AND b.user_id = NEW.user_id AND b.blocked_user_id = NEW.contact_user_id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER mirror_new_contact AFTER INSERT ON users.contacts
    FOR EACH ROW EXECUTE FUNCTION users.mirror_contact();
CREATE TRIGGER mirror_contact AFTER UPDATE OF blocked ON users.contacts
    FOR EACH ROW WHEN ((NEW.blocked IS TRUE) <> (OLD.blocked IS TRUE)) EXECUTE FUNCTION users.mirror_contact();

-- What was written before: whoever stands blocked in one of the two does in both.
INSERT INTO users.blocked_users (user_id, blocked_user_id)
SELECT user_id, contact_user_id FROM users.contacts WHERE blocked
ON CONFLICT (user_id, blocked_user_id) DO NOTHING;
UPDATE users.contacts c SET blocked = TRUE
FROM users.blocked_users b
WHERE b.user_id = c.user_id AND b.blocked_user_id = c.contact_user_id AND c.blocked IS NOT TRUE;
UPDATE users.blocked_users b SET gone_at = least(p.last_seen, b.blocked_at)
FROM users.profiles p WHERE p.user_id = b.user_id AND b.gone_at IS NULL;

-- The hash by which a phone number is looked for. It keeps numbers out of sight, and no secret: there are too few of them.
CREATE FUNCTION users.phone_hash(phone TEXT) RETURNS BYTEA LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT substring(sha256(convert_to(phone, 'UTF8')) FROM 1 FOR 16)
$$;
CREATE INDEX idx_users_phone_hash ON auth.users(users.phone_hash(phone)) WHERE deleted_at IS NULL;

CREATE TABLE users.lookups (
    user_id UUID PRIMARY KEY REFERENCES auth.users(id) ON DELETE CASCADE,
    full_at TIMESTAMP NOT NULL
);
COMMENT ON TABLE users.lookups IS 'When a user may look up a whole day''s phone numbers again; which ones were asked is not kept';

-- migrate:down

DROP TABLE users.lookups;
DROP INDEX auth.idx_users_phone_hash;
DROP FUNCTION users.phone_hash(TEXT);
DROP TRIGGER mirror_contact ON users.contacts;
DROP TRIGGER mirror_new_contact ON users.contacts;
DROP TRIGGER before_contact ON users.contacts;
DROP TRIGGER mirror_block ON users.blocked_users;
DROP TRIGGER before_block ON users.blocked_users;
DROP FUNCTION users.mirror_contact, users.before_contact, users.mirror_block, users.before_block, users.lock_head;
ALTER TABLE users.blocked_users DROP COLUMN gone_at;
DROP TRIGGER number_settings ON users.privacy_settings;
DROP TRIGGER number_first_settings ON users.privacy_settings;
DROP TRIGGER number_settings ON users.profiles;
DROP TRIGGER number_first_settings ON users.profiles;
DROP FUNCTION users.number_settings;
DROP TABLE users.revised;
