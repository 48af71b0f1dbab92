-- Conversations and who takes part.

-- function: messages.create_conversation
-- Outcomes: `ok`, `id_conflict`, `not_found` (one of the others does not exist).
-- A direct conversation is the pair's only one: eight racers get one id, a deleted one revives. A retry gets the first
-- answer before anybody's account is looked at.
CREATE OR REPLACE FUNCTION messages.create_conversation(
    new_id UUID, new_type TEXT, new_name TEXT, creator UUID, others UUID[],
    OUT outcome TEXT, OUT conversation UUID, OUT created BOOLEAN)
LANGUAGE plpgsql AS $$
DECLARE
    everyone UUID[] = ARRAY(SELECT DISTINCT u FROM unnest(others || creator) u);
    listed JSONB = jsonb_build_object(
        'user_ids', to_jsonb(everyone), 'muted', '[]'::jsonb,
        'admins', CASE new_type WHEN 'direct' THEN '[]'::jsonb ELSE jsonb_build_array(creator) END);
    pair TEXT = CASE new_type WHEN 'direct' THEN messages.pair(listed) END;
    existing messages.conversations;
BEGIN
    created = FALSE;
    SELECT * INTO existing FROM messages.conversations
    WHERE id = new_id AND created_by = creator AND type = new_type AND direct_key IS NOT DISTINCT FROM pair
      AND deleted_at IS NULL;
    IF FOUND THEN
        outcome = 'ok';
        conversation = new_id;
        RETURN;
    END IF;
    IF (SELECT count(*) FROM auth.users WHERE id = ANY (everyone) AND deleted_at IS NULL) < cardinality(everyone) THEN
        outcome = 'not_found';
        RETURN;
    END IF;
    IF pair IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(pair, 0));
        UPDATE messages.conversations SET deleted_at = NULL WHERE direct_key = pair AND deleted_at IS NOT NULL;
        created = FOUND;
        SELECT id INTO conversation FROM messages.conversations WHERE direct_key = pair;
        IF FOUND THEN
            outcome = 'ok';
            RETURN;
        END IF;
    END IF;
    INSERT INTO messages.conversations (id, type, name, participants, created_by, direct_key)
    VALUES (new_id, new_type, new_name, listed, creator, pair)
    ON CONFLICT (id) DO NOTHING;
    created = FOUND;
    SELECT * INTO existing FROM messages.conversations WHERE id = new_id;
    conversation = existing.id;
    outcome = CASE
        WHEN (existing.created_by, existing.type) = (creator, new_type) AND existing.direct_key IS NOT DISTINCT FROM pair
            THEN 'ok'
        ELSE 'id_conflict'
    END;
END
$$;

-- function: messages.leave
-- Let a user leave a conversation; whether they may is for the caller to know, and who is not there leaves nothing behind.
-- Where the last admin of a group goes, the longest-standing member follows; readers of a channel never do. The row of the
-- conversation is locked before its head, as by any service that changes `participants`, whose trigger then does the rest.
-- Readers stand in no list, nor does anybody where it is broken: what the trigger left to do is done here.
CREATE OR REPLACE FUNCTION messages.leave(conversation UUID, leaver UUID) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    listed JSONB;
    me messages.members;
    heir UUID;
BEGIN
    SELECT c.participants INTO listed FROM messages.conversations c WHERE c.id = conversation FOR NO KEY UPDATE;
    PERFORM FROM messages.heads WHERE conversation_id = conversation FOR NO KEY UPDATE;
    SELECT m.* INTO me FROM messages.members m
    WHERE m.conversation_id = conversation AND m.user_id = leaver AND m.left_seq IS NULL;
    IF me.role = 'admin' THEN
        SELECT m.user_id INTO heir
        FROM messages.members m
        WHERE m.conversation_id = conversation AND m.left_seq IS NULL AND m.role = 'member'
          AND NOT EXISTS (SELECT FROM messages.members a
                          WHERE a.conversation_id = conversation AND a.user_id <> leaver AND a.left_seq IS NULL
                            AND a.role = 'admin')
        ORDER BY m.silenced, m.joined_rev, m.user_id
        LIMIT 1;
    END IF;
    IF me.role <> 'reader' AND jsonb_typeof(listed -> 'user_ids') = 'array' THEN
        UPDATE messages.conversations SET participants = listed || jsonb_build_object(
            'user_ids', messages.without(listed -> 'user_ids', leaver),
            'muted', messages.without(listed -> 'muted', leaver),
            'admins', messages.without(listed -> 'admins', leaver)
                      || CASE WHEN heir IS NULL THEN '[]'::jsonb ELSE jsonb_build_array(heir) END)
        WHERE id = conversation;
    END IF;
    IF EXISTS (SELECT FROM messages.members m
               WHERE m.conversation_id = conversation AND m.user_id = leaver AND m.left_seq IS NULL) THEN
        UPDATE messages.heads SET last_rev = last_rev + 1, member_count = member_count - 1
        WHERE conversation_id = conversation;
        UPDATE messages.members m
        SET left_seq = h.last_seq, left_rev = h.last_rev, rev = h.last_rev, user_rev = users.take_rev(leaver)
        FROM messages.heads h
        WHERE h.conversation_id = conversation
          AND m.conversation_id = conversation AND m.user_id = leaver AND m.left_seq IS NULL;
    END IF;
END
$$;

-- function: messages.without
-- A list of `participants` without a user; what is no list counts as an empty one.
CREATE OR REPLACE FUNCTION messages.without(list JSONB, who UUID) RETURNS JSONB LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_agg(v ORDER BY n), '[]')
    FROM jsonb_array_elements(CASE jsonb_typeof(list) WHEN 'array' THEN list ELSE '[]'::jsonb END) WITH ORDINALITY e(v, n)
    WHERE lower(v #>> '{}') IS DISTINCT FROM who::text
$$;

-- name: create(conversation, type, name, creator, others) -> CreatedRow
-- Create a conversation, or find the one that is there.
SELECT outcome, conversation, created FROM messages.create_conversation($1, $2, $3, $4, $5)

-- name: page(viewer, limit, before_at, before_id) -> SummaryRow
-- The viewer's conversations, the one with the latest message first, below a place in that order.
WITH listed AS MATERIALIZED (
    SELECT c.id, c.type, m.role, h.last_seq, h.last_rev, m.delivered_seq, m.read_seq, c.created_at, c.name, c.created_by,
           c.last_message_id, c.last_message_at,
           CASE c.type WHEN 'direct' THEN coalesce(
               (SELECT p.user_id FROM messages.members p
                WHERE p.conversation_id = c.id AND p.user_id <> $1 AND p.left_seq IS NULL), $1) END AS peer,
           m.joined_seq, m.marked_unread
    FROM messages.members m
    JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
    JOIN messages.heads h ON h.conversation_id = c.id
    WHERE m.user_id = $1 AND m.left_seq IS NULL
      AND ($3::timestamp IS NULL OR (coalesce(c.last_message_at, c.created_at), c.id) < ($3, $4::uuid))
    ORDER BY coalesce(c.last_message_at, c.created_at) DESC, c.id DESC
    LIMIT $2
)
SELECT l.id, l.type, l.role, l.last_seq, l.last_rev, l.delivered_seq, l.read_seq, l.created_at, l.name, l.created_by,
       l.last_message_id, l.last_message_at, l.peer, u.unread, u.mentions, l.marked_unread
FROM listed l
CROSS JOIN LATERAL messages.unread(l.id, $1, greatest(l.read_seq, l.joined_seq)) u
ORDER BY coalesce(l.last_message_at, l.created_at) DESC, l.id DESC

-- name: summary(conversation, viewer) -> SummaryRow
-- One conversation as a member sees it; no row for anybody else.
SELECT c.id, c.type, m.role, h.last_seq, h.last_rev, m.delivered_seq, m.read_seq, c.created_at, c.name, c.created_by,
       c.last_message_id, c.last_message_at,
       CASE c.type WHEN 'direct' THEN coalesce(
           (SELECT p.user_id FROM messages.members p
            WHERE p.conversation_id = c.id AND p.user_id <> $2 AND p.left_seq IS NULL), $2) END AS peer,
       u.unread, u.mentions, m.marked_unread
FROM messages.members m
JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
JOIN messages.heads h ON h.conversation_id = c.id
CROSS JOIN LATERAL messages.unread(c.id, $2, greatest(m.read_seq, m.joined_seq)) u
WHERE m.conversation_id = $1 AND m.user_id = $2 AND m.left_seq IS NULL

-- name: participants(conversation, viewer) -> ParticipantRow
-- Who takes part, by name, with the receipts that the viewer is told; a channel's readers are not listed.
SELECT m.user_id, m.role,
       CASE WHEN m.user_id = $2 THEN m.delivered_seq ELSE coalesce(m.told_delivered_seq, m.delivered_seq) END AS delivered_seq,
       CASE WHEN m.user_id = $2 THEN m.read_seq
            WHEN s.receipts THEN coalesce(m.told_read_seq, m.read_seq) ELSE 0 END AS read_seq,
       p.display_name, m.silenced, u.deleted_at IS NOT NULL
FROM messages.members m
JOIN auth.users u ON u.id = m.user_id
LEFT JOIN users.profiles p ON p.user_id = m.user_id
CROSS JOIN LATERAL users.sight($2, m.user_id) s
WHERE m.conversation_id = $1 AND m.left_seq IS NULL AND m.role <> 'reader'
ORDER BY p.display_name, m.user_id

-- name: ever_member(conversation, viewer) -> bool
-- Whether the viewer is or was a member.
SELECT EXISTS (
    SELECT FROM messages.members m JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
    WHERE m.conversation_id = $1 AND m.user_id = $2)

-- name: may_type(conversation, typist, most) -> TypingRow
-- Whether a member may post, and from whom it is kept that he or she types: no row for anybody else. It is told where both
-- show it, and not between two of whom one has blocked the other; in conversations of more than `most` to nobody.
SELECT m.role <> 'reader' AND NOT m.silenced, h.member_count <= $3 AS is_told,
       CASE WHEN h.member_count <= $3 THEN ARRAY(
           SELECT o.user_id FROM messages.members o
           CROSS JOIN LATERAL users.sight(o.user_id, $2) s
           WHERE o.conversation_id = $1 AND o.left_seq IS NULL AND o.user_id <> $2
             AND (NOT s.typing OR c.type = 'direct' AND s.apart)) END AS kept_from
FROM messages.members m
JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
JOIN messages.heads h ON h.conversation_id = c.id
WHERE m.conversation_id = $1 AND m.user_id = $2 AND m.left_seq IS NULL
