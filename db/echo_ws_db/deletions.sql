-- Deletions: what is left to do when an account is out of reach, a piece at a time. What is left is seen from the rows
-- themselves, so it does not matter where the last runner stopped.

-- name: pending(limit) -> UUID
-- Whose deletions are not finished, the oldest first.
SELECT user_id FROM auth.deletions ORDER BY created_at, user_id LIMIT $1

-- function: auth.go_on_deleting
-- Do the next piece of a deletion. One group or channel is left, or up to `most` rows are changed; `conversations` are
-- those that changed. Done when nothing was left. No outcome: nothing to do, or somebody else is at it.
CREATE OR REPLACE FUNCTION auth.go_on_deleting(owner UUID, most INT, OUT is_done BOOLEAN, OUT conversations UUID[])
LANGUAGE plpgsql AS $$
DECLARE
    fate TEXT;
    place UUID;
    changed INT;
BEGIN
    SELECT d.content INTO fate FROM auth.deletions d WHERE d.user_id = owner FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    is_done = FALSE;
    SELECT m.conversation_id INTO place
    FROM messages.members m JOIN messages.conversations c ON c.id = m.conversation_id AND c.type <> 'direct'
    WHERE m.user_id = owner AND m.left_seq IS NULL LIMIT 1;
    IF FOUND THEN
        PERFORM messages.leave(place, owner, TRUE);
        conversations = ARRAY[place];
        RETURN;
    END IF;
    IF fate = 'erase' THEN
        conversations = messages.erase_messages(owner, most);
        IF conversations = '{}' THEN
            conversations = messages.erase_reactions(owner, most);
        END IF;
        IF conversations <> '{}' THEN
            RETURN;
        END IF;
    END IF;
    conversations = '{}';
    changed = auth.forget_traces(owner, most);
    IF changed = 0 THEN
        UPDATE media.files SET deleted_at = CURRENT_TIMESTAMP
        WHERE user_id = owner AND deleted_at IS NULL AND fate = 'erase';
        UPDATE media.uploads SET expires_at = CURRENT_TIMESTAMP
        WHERE user_id = owner AND completed_at IS NULL AND expires_at > CURRENT_TIMESTAMP;
        DELETE FROM auth.deletions WHERE user_id = owner;
        is_done = TRUE;
    END IF;
END
$$;

-- function: messages.erase_messages
-- Make tombstones of some of a user's messages and return the conversations; none: there are none left. A send of theirs
-- that was judged before the deletion may still be under way in a direct conversation: its head is waited for then.
CREATE OR REPLACE FUNCTION messages.erase_messages(author UUID, most INT) RETURNS UUID[] LANGUAGE plpgsql AS $$
DECLARE
    wanted UUID[] = messages.unerased(author, most);
    touched UUID[];
BEGIN
    IF wanted = '{}' THEN
        PERFORM FROM messages.heads
        WHERE conversation_id IN (SELECT conversation_id FROM messages.members WHERE user_id = author AND left_seq IS NULL)
        ORDER BY conversation_id FOR NO KEY UPDATE;
        wanted = messages.unerased(author, most);
    END IF;
    touched = ARRAY(SELECT DISTINCT conversation_id FROM messages.messages WHERE id = ANY (wanted));
    PERFORM FROM messages.heads WHERE conversation_id = ANY (touched) ORDER BY conversation_id FOR NO KEY UPDATE;
    PERFORM messages.make_tombstones(wanted);
    RETURN touched;
END
$$;

-- function: messages.unerased
CREATE OR REPLACE FUNCTION messages.unerased(author UUID, most INT) RETURNS UUID[] LANGUAGE sql VOLATILE AS $$
    SELECT ARRAY(SELECT id FROM messages.messages WHERE from_user_id = author AND deleted IS NOT TRUE LIMIT most)
$$;

-- function: messages.erase_reactions
-- Take away some of a user's reactions and votes and return the conversations; none: there are none left. Triggers number
-- lost reactions, and no votes of one whose row is still there.
CREATE OR REPLACE FUNCTION messages.erase_reactions(reactor UUID, most INT) RETURNS UUID[] LANGUAGE plpgsql AS $$
DECLARE
    wanted UUID[] = ARRAY(
        SELECT DISTINCT message_id
        FROM ((SELECT message_id FROM messages.reactions WHERE user_id = reactor LIMIT most)
              UNION ALL (SELECT message_id FROM messages.votes WHERE user_id = reactor LIMIT most)) r);
    touched UUID[] = ARRAY(SELECT DISTINCT conversation_id FROM messages.messages WHERE id = ANY (wanted));
BEGIN
    PERFORM FROM messages.heads WHERE conversation_id = ANY (touched) ORDER BY conversation_id FOR NO KEY UPDATE;
    DELETE FROM messages.reactions WHERE user_id = reactor AND message_id = ANY (wanted);
    WITH lost AS (
        DELETE FROM messages.votes WHERE user_id = reactor AND message_id = ANY (wanted) RETURNING message_id
    )
    UPDATE messages.messages SET rev = messages.take_rev(conversation_id) WHERE id IN (SELECT message_id FROM lost);
    RETURN touched;
END
$$;

-- function: auth.forget_traces
-- Take the person out of some rows that are kept, delete some that are not, and return how many; 0: there are none left.
CREATE OR REPLACE FUNCTION auth.forget_traces(owner UUID, most INT) RETURNS INT LANGUAGE sql VOLATILE AS $$
    WITH tokens AS (
        DELETE FROM auth.refresh_tokens WHERE id IN (SELECT id FROM auth.refresh_tokens WHERE user_id = owner LIMIT most)
        RETURNING 1
    ), sessions AS (
        DELETE FROM auth.sessions WHERE id IN (SELECT id FROM auth.sessions WHERE user_id = owner LIMIT most)
        RETURNING 1
    ), logins AS (
        UPDATE auth.login_history SET phone = '', ip_address = NULL, user_agent = NULL, device_id = NULL, location = NULL
        WHERE id IN (SELECT id FROM auth.login_history
                     WHERE user_id = owner AND (phone, ip_address, user_agent, device_id, location)
                           IS DISTINCT FROM ('', NULL::inet, NULL::text, NULL::varchar, NULL::jsonb)
                     LIMIT most)
        RETURNING 1
    ), pushes AS (
        DELETE FROM notifications.deliveries
        WHERE id IN (SELECT id FROM notifications.deliveries WHERE user_id = owner LIMIT most)
        RETURNING 1
    ), deeds AS (
        UPDATE analytics.events SET user_id = NULL, session_id = NULL
        WHERE id IN (SELECT id FROM analytics.events WHERE user_id = owner LIMIT most)
        RETURNING 1
    ), hidden AS (
        DELETE FROM messages.hidden
        WHERE user_id = owner AND message_id IN (SELECT message_id FROM messages.hidden WHERE user_id = owner LIMIT most)
        RETURNING 1
    )
    SELECT count(*)::int FROM (
        SELECT * FROM tokens UNION ALL SELECT * FROM sessions UNION ALL SELECT * FROM logins
        UNION ALL SELECT * FROM pushes UNION ALL SELECT * FROM deeds UNION ALL SELECT * FROM hidden) gone
$$;

-- name: go_on(owner, most) -> PieceRow
SELECT is_done, conversations FROM auth.go_on_deleting($1, $2)
